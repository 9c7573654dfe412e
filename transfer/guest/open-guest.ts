/** From a machine's disks to its files: which volume is the root, and what is mounted below it. */
import { FluidError } from '../../protocol/errors.ts'
import type { GuestFiles } from '../guest-files.ts'
import { parseFstab, volumeOfSpec, type FstabLine } from './fstab.ts'
import { guestTree, type GuestMount, type GuestTree } from './guest-tree.ts'
import { surveyDisks, type GuestDisk, type GuestVolume } from './guest-volume.ts'

/** What tells a root from a volume that merely has an `etc`; each counts one. */
const ROOT_SIGNS = [
  '/etc/os-release',
  '/usr/lib/os-release',
  '/etc/fstab',
  '/etc/passwd',
  '/etc/inittab',
  '/sbin/init',
  '/bin/sh',
]
/** Mounts of one guest that are followed. */
const MAX_MOUNTS = 64

/** A root and what it mounts, as far as that can be found on these disks. */
export interface FoundGuest {
  readonly root: GuestVolume
  readonly fstab: readonly FstabLine[]
  readonly tree: GuestTree
  /** What the guest would mount and cannot be found here, for people. */
  readonly notes: readonly string[]
}

/** Opens the files of a guest for reading. Throws GUEST_UNSUPPORTED when there is no root that can be read, SOURCE_READ. */
export async function openGuest(
  disks: readonly GuestDisk[],
  options: { signal?: AbortSignal } = {},
): Promise<GuestFiles> {
  const surveyed = await surveyDisks(disks, options)
  return (await findGuest(surveyed.flatMap(({ volumes }) => volumes))).tree
}

/** Finds the root among `volumes`. Throws GUEST_UNSUPPORTED with what each of them is. */
export async function findGuest(volumes: readonly GuestVolume[]): Promise<FoundGuest> {
  let best: { guest: FoundGuest; score: number } | undefined
  for (const volume of volumes) {
    if (!volume.ext) continue
    const found = await guestOn(volume, volumes).catch(unlessDamaged)
    // A copy of a root, such as a rescue system, mounts another volume as its own.
    if (found && found.score > (best?.score ?? 0)) best = found
  }
  if (best) return best.guest
  const seen = volumes.map(({ name, fileSystem, problem }) => `${name}: ${problem ?? fileSystem.kind}`)
  throw new FluidError(
    'GUEST_UNSUPPORTED',
    `No root file system that can be read was found (${seen.join('; ')})`,
    {
      hint: 'A root on ext2, ext3 or ext4 can be read, on a partition or on a whole disk',
    },
  )
}

function unlessDamaged(error: unknown): undefined {
  if (!(error instanceof FluidError) || error.code !== 'GUEST_UNSUPPORTED') throw error
  return undefined
}

async function guestOn(
  root: GuestVolume,
  volumes: readonly GuestVolume[],
): Promise<{ guest: FoundGuest; score: number } | undefined> {
  const alone = guestTree([{ path: '/', volume: root }])
  let score = 0
  if ((await alone.entry('/etc'))?.kind !== 'directory') return undefined
  for (const path of ROOT_SIGNS) if (await alone.entry(path).catch(unlessDamaged)) score++
  if (score === 0) return undefined
  const text = await alone.read('/etc/fstab').catch(unlessDamaged)
  const fstab = text ? parseFstab(Buffer.from(text).toString()) : []
  const itself = fstab.find(({ path }) => path === '/')
  if (itself) score += volumeOfSpec(itself.spec, volumes) === root ? ROOT_SIGNS.length : 0
  const { mounts, notes } = mountsOf(root, fstab, volumes)
  return { guest: { root, fstab, tree: guestTree(mounts), notes }, score }
}

function mountsOf(
  root: GuestVolume,
  fstab: readonly FstabLine[],
  volumes: readonly GuestVolume[],
): { mounts: GuestMount[]; notes: string[] } {
  const mounts = new Map<string, GuestMount>([['/', { path: '/', volume: root }]])
  const notes: string[] = []
  for (const { spec, path, options } of fstab) {
    const isDisk = spec.startsWith('/dev/') || /^(?:UUID|LABEL|PARTUUID|PARTLABEL)=/.test(spec)
    if (!path.startsWith('/') || path === '/' || !isDisk || options.includes('noauto')) continue
    const volume = volumeOfSpec(spec, volumes)
    if (!volume) notes.push(`${path} is mounted from ${spec}, which is on none of the machine's disks`)
    else if (mounts.size < MAX_MOUNTS) mounts.set(path, { path, volume })
  }
  return { mounts: [...mounts.values()], notes }
}
