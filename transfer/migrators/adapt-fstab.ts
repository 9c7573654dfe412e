/** /etc/fstab: devices by their path become UUIDs, and what does not move with the machine is commented out. */
import { unsupported } from './config-format.ts'
import type { GuestDraft } from './guest-draft.ts'
import { editText } from './edit-text.ts'
import { linesOf } from './guest-text.ts'

/** A whole disk or a partition. */
export function isDevicePath(path: string): boolean {
  return /^\/dev\/(?:[a-z]{2,8}\d*|nvme\d+n\d+p?\d*|mmcblk\d+p?\d*|disk\/by-[a-z]+\/[\w.:@+-]+|mapper\/[\w.+-]+)$/.test(
    path,
  )
}

export interface FstabInput {
  /** Device path to the UUID of its file system. */
  readonly uuids?: Readonly<Record<string, string>>
  /** Devices (as fstab names them) or mount points that do not move. */
  readonly stays?: readonly string[]
}

/** Names that another machine may give to another disk, or to none: by serial number only what lies on disks keeps one. */
const BY_PLACE =
  /^\/dev\/(?:(?:sd|vd|xvd|hd)[a-z]+\d*|nvme\d+n\d+(?:p\d+)?|mmcblk\d+(?:p\d+)?|disk\/by-path\/.*|disk\/by-id\/(?!dm-|md-|lvm-).*)$/

/** Throws GUEST_UNSUPPORTED where an entry names a disk by its place and no UUID is given for it. */
export async function adaptFstab(draft: GuestDraft, { uuids = {}, stays = [] }: FstabInput): Promise<void> {
  const isThere = await editText(draft, '/etc/fstab', (text) =>
    linesOf(text)
      .map((line) => {
        const [, space, device, mount] = /^([ \t]*)([^\s#]\S*)[ \t]+(\S+)/.exec(line) ?? []
        if (device === undefined) return line
        if (stays.includes(device) || stays.includes(mount))
          return `# FluidCloud: this disk did not move with the machine.\n# ${line}`
        const uuid = Object.hasOwn(uuids, device) ? uuids[device] : undefined
        if (uuid !== undefined) return `${space}UUID=${uuid}${line.slice(space.length + device.length)}`
        if (!BY_PLACE.test(device)) return line
        throw unsupported(
          `/etc/fstab mounts ${device} at ${mount}, which the new machine may call otherwise: its UUID is not known`,
        )
      })
      .join(''),
  )
  if (!isThere) throw unsupported('The guest has no /etc/fstab')
}
