/**
 * The files of a guest for reading and writing, on disks that no machine uses. Reading is ours; every change is made by
 * debugfs, on a file system whose journal was replayed first, and read back before it counts as done.
 */
import { constants } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_CHANGE_BYTES } from '../../protocol/limits.ts'
import type { WritableGuestFiles } from '../guest-files.ts'
import { blockUrl, fileUrl, openSource } from '../open.ts'
import type { Source } from '../source.ts'
import { openFuseImage } from './fuse-image.ts'
import { createGuestEditor } from './guest-editor.ts'
import { checkAndRepair, noteCheck, replayJournal, runDebugfs, type ToolTarget } from './guest-tool.ts'
import { extOf, guestTree, type GuestMount, type GuestTree } from './guest-tree.ts'
import { reopenVolume, surveyDisks, whyReadOnly, type GuestVolume } from './guest-volume.ts'
import { findGuest } from './open-guest.ts'

/** A disk of the target: a file or a block device. */
export interface WritableDisk {
  readonly id: string
  readonly path: string
  readonly format: 'raw' | 'qcow2'
}

interface OpenDisk {
  readonly handle: FileHandle
  readonly source: Source
}

/**
 * Opens all disks of a machine, finds its root, and replays the journals of what it mounts. Throws GUEST_UNSUPPORTED (no
 * root, damaged, e2fsprogs missing), FORMAT_UNSUPPORTED (qcow2 without FUSE), TARGET_WRITE, SOURCE_READ.
 */
export async function openWritableGuest(
  disks: readonly WritableDisk[],
  options: { signal?: AbortSignal } = {},
): Promise<WritableGuestFiles> {
  await using stack = new AsyncDisposableStack()
  const opened = new Map<string, OpenDisk>()
  for (const disk of disks) opened.set(disk.id, await openDisk(disk, stack, options))
  const sources = [...opened].map(([id, { source }]) => ({ id, source }))
  const surveyed = await surveyDisks(sources, options)
  const found = await findGuest(surveyed.flatMap(({ volumes }) => volumes))
  const targetOf = (volume: GuestVolume): ToolTarget => {
    const { name, pieces } = volume
    const why = whyReadOnly(volume)
    if (why !== undefined) {
      throw new FluidError('GUEST_UNSUPPORTED', `Cannot edit ${name} of the guest: ${why}`, {
        hint: 'A logical volume in one piece and without snapshots can be edited',
      })
    }
    return { fd: (opened.get(pieces[0].disk) as OpenDisk).handle.fd, offset: pieces[0].offset, name }
  }
  // What is mounted is told by the guest as it was found; editing its fstab moves no file of this session.
  let mounts: readonly GuestMount[] = found.tree.mounts
  const reopen = async (): Promise<GuestTree> => {
    const now: GuestMount[] = []
    for (const { path, volume } of mounts) {
      now.push({ path, volume: await reopenVolume(volume, sources, options) })
    }
    mounts = now
    return guestTree(mounts)
  }
  for (const { volume } of mounts) await replay(volume, targetOf)
  let tree = await reopen()
  const edited = new Map<string, GuestVolume>()
  const syncAll = async () => {
    for (const { handle } of opened.values()) await synced(handle)
  }
  const editor = createGuestEditor({
    async run(volume, commands, files) {
      // Who is cut off leaves maps that do not fit: until sync() the file system says so, to us and to the guest.
      if (!edited.has(volume.name)) {
        await noteCheck(targetOf(volume), true)
        await syncAll()
        edited.set(volume.name, volume)
      }
      await runDebugfs(targetOf(volume), commands, files)
    },
    async reopen() {
      tree = await reopen()
      return tree
    },
  })
  const exclusively = createQueue()
  const owned = stack.move()
  return {
    entry: (path) => exclusively(() => tree.entry(path)),
    read: (path, limits) => exclusively(() => tree.read(path, limits)),
    list: (path) => exclusively(() => tree.list(path)),
    write: (path, bytes, owner = {}) =>
      exclusively(async () => {
        options.signal?.throwIfAborted()
        if (bytes.length > MAX_GUEST_CHANGE_BYTES)
          throw new FluidError(
            'LIMIT_EXCEEDED',
            `${path} would have ${bytes.length} bytes, more than ${MAX_GUEST_CHANGE_BYTES}`,
          )
        await editor.write(tree, path, bytes, owner)
      }),
    remove: (path) =>
      exclusively(async () => {
        options.signal?.throwIfAborted()
        await editor.remove(tree, path)
      }),
    sync: () =>
      exclusively(async () => {
        for (const volume of edited.values())
          if (extOf(volume).hasQuota) await checkAndRepair(targetOf(volume))
        await syncAll()
        for (const volume of edited.values()) await noteCheck(targetOf(volume), false)
        if (edited.size > 0) await syncAll()
        edited.clear()
        tree = await reopen()
      }),
    [Symbol.asyncDispose]: () => exclusively(() => owned.disposeAsync()),
  }
}

async function openDisk(
  { path, format }: WritableDisk,
  stack: AsyncDisposableStack,
  options: { signal?: AbortSignal },
): Promise<OpenDisk> {
  const file = format === 'raw' ? path : stack.use(await openFuseImage(path, options)).path
  const handle = await open(file, constants.O_RDWR | constants.O_NOFOLLOW).catch((cause: unknown) => {
    throw new FluidError('TARGET_WRITE', `Cannot open ${path}: ${(cause as Error).message}`, { cause })
  })
  stack.defer(() => handle.close())
  const isBlockDevice = (await stat(file)).isBlockDevice()
  const source = stack.use(await openSource(isBlockDevice ? blockUrl(file) : fileUrl(file)))
  return { handle, source }
}

/** Makes a file system fit to be edited. */
async function replay(volume: GuestVolume, targetOf: (volume: GuestVolume) => ToolTarget): Promise<void> {
  // What can be read only has its journal replayed in memory.
  if (!volume.ext || whyReadOnly(volume) !== undefined) return
  const { journal, needsCheck, halfEdited, note } = volume.ext
  if (journal === 'stale') {
    throw new FluidError('GUEST_UNSUPPORTED', `Cannot edit ${volume.name} of the guest: ${note}`, {
      hint: 'Check the file system inside the machine (fsck), or shut it down cleanly first',
    })
  }
  if (journal === 'replayed') await replayJournal(targetOf(volume))
  // Without a journal a power cut leaves counts and maps that do not fit: debugfs must not build on them.
  if (needsCheck) await checkAndRepair(targetOf(volume), { everything: halfEdited })
}

async function synced(handle: FileHandle): Promise<void> {
  await handle.datasync().catch((cause: unknown) => {
    throw new FluidError('TARGET_WRITE', `Edited files did not reach the disk: ${(cause as Error).message}`, {
      cause,
    })
  })
}

/** Runs tasks one after another: debugfs must not meet another, and no reader a half-made change. */
function createQueue(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (task) => {
    const run = last.then(task, task)
    last = run.catch(() => {})
    return run
  }
}
