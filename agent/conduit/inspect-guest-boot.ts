/** Whether a machine could start from these disks: what its firmware looks for is there. */
import type { GuestFiles } from '../../transfer/guest-files.ts'
import type { SurveyedDisk } from '../../transfer/guest/guest-volume.ts'
import { isThere } from './guest-lines.ts'
import type { InspectedMachine } from './guest-report.ts'
import type { Objection } from '../../protocol/relocation-message.ts'

const BOOT_FILES = [
  '/boot/grub/grub.cfg',
  '/boot/grub2/grub.cfg',
  '/boot/grub/menu.lst',
  '/boot/extlinux/extlinux.conf',
  '/boot/extlinux.conf',
  '/extlinux.conf',
  '/boot/syslinux/syslinux.cfg',
  '/syslinux.cfg',
  '/etc/lilo.conf',
]
/** GPT partition types of the UEFI specification, and of GRUB on BIOS machines. */
const EFI_SYSTEM = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b'
const BIOS_BOOT = '21686148-6449-6e6f-744e-656564454649'
const MBR_EFI_SYSTEM = 'ef'

/** Why the firmware would find nothing to start; empty when it would. */
export async function bootObjections(
  disks: readonly SurveyedDisk[],
  machine: InspectedMachine,
  guest: GuestFiles,
): Promise<Objection[]> {
  if (machine.firmware === 'uefi') return efiObjections(disks)
  const named = machine.disks.find(({ boot }) => boot)?.id
  const disk = disks.find(({ id }) => id === named) ?? disks[0]
  if (disk.table.bootCode || disk.volumes.some(({ partition }) => partition?.type === BIOS_BOOT)) return []
  const files: string[] = []
  for (const path of BOOT_FILES) if (await isThere(guest, path)) files.push(path)
  // Files of a boot loader are started by nothing but the code in front of them.
  const [found = 'no files of GRUB, extlinux or LILO'] = files
  return [
    {
      code: 'GUEST_UNSUPPORTED',
      message: `Disk ${disk.id} has no boot code (the guest has ${found}): a BIOS cannot start it`,
      hint: 'Install a boot loader inside the guest (grub-install), or check which disk it starts from',
    },
  ]
}

function efiObjections(disks: readonly SurveyedDisk[]): Objection[] {
  const volumes = disks.flatMap(({ volumes: found }) => found)
  const isEfi = (type: string | undefined) => type === EFI_SYSTEM || type === MBR_EFI_SYSTEM
  if (volumes.some(({ partition, fileSystem }) => isEfi(partition?.type) && fileSystem.kind === 'vfat'))
    return []
  return [
    {
      code: 'GUEST_UNSUPPORTED',
      message: 'No disk has an EFI system partition: UEFI firmware cannot start this machine',
      hint: 'Check the firmware in the machine description; a machine that starts by BIOS says firmware = bios',
    },
  ]
}
