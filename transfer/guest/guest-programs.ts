/** What has to be installed before files inside disks can be written, so that a target can say so before anything moves. */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import { isInstalled } from '../is-installed.ts'
import type { WritableDisk } from './open-writable-guest.ts'

const NEEDS: Readonly<Record<WritableDisk['format'], readonly [program: string, packageName: string][]>> = {
  raw: [
    ['debugfs', 'e2fsprogs'],
    ['e2fsck', 'e2fsprogs'],
  ],
  qcow2: [
    ['debugfs', 'e2fsprogs'],
    ['e2fsck', 'e2fsprogs'],
    ['setpriv', 'util-linux'],
    ['qemu-storage-daemon', 'qemu-system-common'],
  ],
}

/** Where they are, though not in everyone's PATH. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin']

/**
 * Why files in disks of this format cannot be written on this machine; undefined when nothing is missing. That FUSE is
 * allowed, which qcow2 needs, only opening one tells.
 */
export async function cannotWriteGuests(format: WritableDisk['format']): Promise<FluidError | undefined> {
  for (const [program, packageName] of NEEDS[format]) {
    if (await isInstalled(program, process.env.PATH, SYSTEM_FOLDERS)) continue
    return new FluidError(
      'GUEST_UNSUPPORTED',
      `Files in ${format} disks cannot be edited here: ${program} is missing`,
      {
        hint: `Install ${packageName} on this machine`,
      },
    )
  }
  if (format === 'qcow2' && !(await isAllowed('/dev/fuse', constants.R_OK | constants.W_OK))) {
    return new FluidError(
      'FORMAT_UNSUPPORTED',
      'Files in qcow2 disks cannot be edited here: /dev/fuse may not be used',
      {
        hint: 'Load the fuse module and let the agent use /dev/fuse, or keep disks as raw here',
      },
    )
  }
  return undefined
}

async function isAllowed(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  )
}
