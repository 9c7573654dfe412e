/**
 * Where a volume is put on the target's side, main thread: an existing device or export, or a file made under
 * a staging name beside its destination and renamed into place when everything in it is known to be right.
 */
import { closeSync } from 'node:fs'
import { realpath, stat, statfs } from 'node:fs/promises'
import { FluidError } from '../protocol/errors.ts'
import { openBlockSink, openExclusively } from './backends/block-device.ts'
import { reason } from './backends/bounds.ts'
import { openNbdSink } from './backends/nbd.ts'
import type { Destination, Placement, PlacementOptions } from './destination.ts'
import { openFilePlacement } from './file-placement.ts'
import { blockUrl, dropCached } from './open.ts'
import type { Sink } from './sink.ts'

/**
 * Opens the place for a volume, or what an earlier run of the same job left of it. Throws NAME_INVALID, NAME_EXISTS,
 * NAME_BUSY, NO_SPACE, TOO_LARGE, TARGET_WRITE, FORMAT_UNSUPPORTED.
 */
export async function openPlacement(destination: Destination, options: PlacementOptions): Promise<Placement> {
  options.signal?.throwIfAborted()
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(options.job)) throw new TypeError(`Not a job id: ${options.job}`)
  await using stack = new AsyncDisposableStack()
  const placement = stack.use(await openKind(destination, options))
  if (placement.resumed) await forgetUnwritten(placement)
  stack.move()
  return placement
}

function openKind(destination: Destination, options: PlacementOptions): Promise<Placement> {
  if (destination.kind === 'file') return openFilePlacement(destination, options)
  if (destination.kind === 'block') return openBlockPlacement(destination.path, options)
  return openNbdPlacement(destination.url, options)
}

/**
 * What an earlier attempt left is looked for on the disk. What of it the disk refused counts as clean once that was told to
 * someone, and may lie in the page cache as if it were there: the agent was killed, or another lane wrote beside it.
 */
async function forgetUnwritten({ sink, sinkUrl, readUrl = sinkUrl }: Placement): Promise<void> {
  await sink.sync()
  dropCached(readUrl)
}

/** Throws NO_SPACE when the file system of `folder` has less than `neededBytes` free now; nothing is reserved. */
export async function checkSpace(folder: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder, { bigint: true }).catch((cause: unknown) => {
    throw new FluidError('TARGET_WRITE', `Cannot look at the space in ${folder}: ${reason(cause)}`, { cause })
  })
  const freeBytes = bavail * bsize
  if (freeBytes >= BigInt(neededBytes)) return
  throw new FluidError(
    'NO_SPACE',
    `The volume needs ${neededBytes} bytes and ${folder} has ${freeBytes} bytes free`,
  )
}

async function openBlockPlacement(device: string, { sizeBytes }: PlacementOptions): Promise<Placement> {
  await using stack = new AsyncDisposableStack()
  const path = await findDevice(device)
  const hold = openExclusively(path)
  stack.defer(() => closeSync(hold))
  const sink = stack.use(await openBlockSink(path))
  checkCapacity(path, sink, sizeBytes)
  return existing({ sinkUrl: blockUrl(path), sink, path }, stack)
}

async function findDevice(device: string): Promise<string> {
  try {
    const path = await realpath(device)
    if ((await stat(path)).isBlockDevice()) return path
  } catch (cause) {
    throw new FluidError('TARGET_WRITE', `Cannot open the block device ${device}: ${reason(cause)}`, {
      cause,
    })
  }
  throw new FluidError('TARGET_WRITE', `${device} is not a block device`)
}

async function openNbdPlacement(url: string, { sizeBytes, signal }: PlacementOptions): Promise<Placement> {
  await using stack = new AsyncDisposableStack()
  const sink = stack.use(await openNbdSink(url, { signal }))
  checkCapacity(url, sink, sizeBytes)
  return existing({ sinkUrl: url, sink, path: url }, stack)
}

function checkCapacity(name: string, sink: Sink, sizeBytes: number): void {
  if (sink.sizeBytes >= sizeBytes) return
  throw new FluidError('NO_SPACE', `The volume has ${sizeBytes} bytes and ${name} only ${sink.sizeBytes}`, {
    hint: 'Choose a target at least as large as the volume',
  })
}

/** A placement on something that was there before: nothing is staged, nothing renamed. */
function existing(
  { sinkUrl, sink, path }: { sinkUrl: string; sink: Sink; path: string },
  stack: AsyncDisposableStack,
): Placement {
  const owned = stack.move()
  return {
    sinkUrl,
    sink,
    resumed: true,
    identity: path,
    async commit(signal) {
      signal?.throwIfAborted()
      await sink.sync()
      sink.forgetCached?.()
      return { path }
    },
    discard: () => owned.disposeAsync(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
