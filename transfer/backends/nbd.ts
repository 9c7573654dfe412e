/** Volumes behind an NBD server, as source and as sink: requests cut to what the server takes, errors with their offset. */
import { FluidError } from '../../protocol/errors.ts'
import type { Extent } from '../../protocol/extent.ts'
import { HOLE_BLOCK_BYTES, NBD_STATUS_BYTES, NBD_ZERO_BYTES } from '../../protocol/limits.ts'
import type { Sink } from '../sink.ts'
import type { Source } from '../source.ts'
import {
  checkBounds,
  errnoOf,
  reason,
  sourceReadError,
  targetReadError,
  targetSyncError,
  targetWriteError,
} from './bounds.ts'
import { wholeRange } from './file-extents.ts'
import { openNbdClient, type NbdClient, type NbdOptions } from './nbd-client.ts'
import { nbdError } from './nbd-handshake.ts'
import { STATUS_ZEROS } from './nbd-reply.ts'
import { parseNbdUrl } from './nbd-url.ts'

/**
 * Opens an export for reading. Throws SOURCE_MISSING when the server has no such export, SOURCE_READ when
 * it cannot be reached. NBD says nothing of changes: the fingerprint knows the size only.
 */
export async function openNbdSource(url: string, options: NbdOptions = {}): Promise<Source> {
  const client = await openNbdClient(parseNbdUrl(url), options).catch((cause: unknown) => {
    options.signal?.throwIfAborted()
    const code = errnoOf(cause) === 'ENOENT' && isRefusal(cause) ? 'SOURCE_MISSING' : 'SOURCE_READ'
    throw new FluidError(code, `Cannot open ${url}: ${reason(cause)}`, {
      cause,
      hint: 'Check the address and that the NBD server runs',
    })
  })
  const { sizeBytes, contextId } = client.volume
  return {
    sizeBytes,
    supports: { holes: contextId !== undefined },
    async *extents(from, { signal } = {}) {
      try {
        yield* dataOf(client, from, sizeBytes, signal)
      } catch (error) {
        signal?.throwIfAborted()
        throw sourceReadError(error, from)
      }
    },
    async read(target, offset) {
      checkBounds(sizeBytes, offset, target.length)
      await readAligned(client, target, offset, sourceReadError)
    },
    prefetch() {},
    async fingerprint() {
      return `nbd:${sizeBytes}`
    },
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
    },
  }
}

/** A system error of connect() has a syscall; a refusal by the server has none. */
function isRefusal(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).syscall === undefined
}

/**
 * Opens an export for writing. Throws TARGET_WRITE when it cannot be reached or is read-only, FORMAT_UNSUPPORTED when its
 * server takes no flush: then nothing written is ever known to be durable.
 */
export async function openNbdSink(url: string, options: NbdOptions = {}): Promise<Sink> {
  const address = parseNbdUrl(url)
  const client = await openNbdClient(address, options).catch((cause: unknown) => {
    options.signal?.throwIfAborted()
    throw new FluidError('TARGET_WRITE', `Cannot open ${url}: ${reason(cause)}`, {
      cause,
      hint: 'Check the address and that the NBD server runs',
    })
  })
  const { sizeBytes, readOnly, canFlush, canZero, shared, minBlockBytes } = client.volume
  if (readOnly) {
    await client[Symbol.asyncDispose]()
    throw new FluidError('TARGET_WRITE', `Cannot write ${url}: the server exports it read-only`)
  }
  if (!canFlush) {
    await client[Symbol.asyncDispose]()
    throw new FluidError('FORMAT_UNSUPPORTED', `Cannot write ${url}: the server takes no flush`, {
      hint: 'Use a server that does: qemu-nbd, or nbdkit with its plugin file',
    })
  }
  const exclusively = createQueue()
  return {
    sizeBytes,
    // Lanes meet at multiples of HOLE_BLOCK_BYTES: with larger blocks two of them could write into one.
    supports: {
      zeroed: address.zeroed,
      sparse: canZero,
      shared: shared && minBlockBytes <= HOLE_BLOCK_BYTES,
    },
    async write(bytes, offset) {
      checkBounds(sizeBytes, offset, bytes.length)
      await writeAligned(client, bytes, offset, exclusively)
    },
    async zero(offset, lengthBytes) {
      checkBounds(sizeBytes, offset, lengthBytes)
      await zeroAligned(client, offset, lengthBytes, exclusively)
    },
    async read(target, offset) {
      checkBounds(sizeBytes, offset, target.length)
      await readAligned(client, target, offset, targetReadError)
    },
    async *written(from, to) {
      try {
        yield* dataOf(client, from, Math.min(to, sizeBytes))
      } catch (error) {
        throw targetReadError(error, from)
      }
    },
    async sync() {
      await client.flush().catch((error: unknown) => {
        throw targetSyncError(error)
      })
    },
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
    },
  }
}

type MapError = (error: unknown, offset: number) => FluidError

/** What the server does not call zeros within [from, to), neighbours joined. */
async function* dataOf(
  client: NbdClient,
  from: number,
  to: number,
  signal?: AbortSignal,
): AsyncGenerator<Extent> {
  if (client.volume.contextId === undefined) {
    for (const extent of wholeRange(from, to)) {
      signal?.throwIfAborted()
      yield extent
    }
    return
  }
  const block = client.volume.minBlockBytes
  let data: Extent | undefined
  for (let at = from; at < to;) {
    signal?.throwIfAborted()
    const start = at - (at % block)
    const status = await client.blockStatus(start, Math.min(NBD_STATUS_BYTES, roundUp(to, block) - start))
    for (const { length, flags } of status) {
      const end = Math.min(at - (at % block) + length, to)
      if (end <= at) throw nbdError('EPROTO', 'The NBD server sent an extent shorter than its blocks')
      if (!(flags & STATUS_ZEROS)) {
        if (data) data = { offset: data.offset, length: end - data.offset }
        else data = { offset: at, length: end - at }
      } else if (data) {
        yield* wholeRange(data.offset, data.offset + data.length)
        data = undefined
      }
      at = end
    }
    // A volume without holes is one long extent: what is known of it is named now, not at its end.
    if (data && data.length >= NBD_STATUS_BYTES) {
      yield* wholeRange(data.offset, data.offset + data.length)
      data = undefined
    }
  }
  if (data) yield* wholeRange(data.offset, data.offset + data.length)
}

async function readAligned(
  client: NbdClient,
  target: Uint8Array,
  offset: number,
  mapError: MapError,
): Promise<void> {
  const { minBlockBytes: block } = client.volume
  if (offset % block === 0 && target.length % block === 0)
    return inPieces(client, target, offset, 'read', mapError)
  const start = offset - (offset % block)
  const around = Buffer.allocUnsafe(roundUp(offset + target.length, block) - start)
  await inPieces(client, around, start, 'read', mapError)
  target.set(around.subarray(offset - start, offset - start + target.length))
}

/** Writes; where the server wants whole blocks, the ends are read first, one such write at a time. */
async function writeAligned(
  client: NbdClient,
  bytes: Uint8Array,
  offset: number,
  exclusively: Queue,
): Promise<void> {
  const { minBlockBytes: block } = client.volume
  if (offset % block === 0 && bytes.length % block === 0)
    return inPieces(client, bytes, offset, 'write', targetWriteError)
  await exclusively(async () => {
    const start = offset - (offset % block)
    const around = Buffer.allocUnsafe(roundUp(offset + bytes.length, block) - start)
    await inPieces(client, around.subarray(0, block), start, 'read', targetReadError)
    await inPieces(client, around.subarray(-block), start + around.length - block, 'read', targetReadError)
    around.set(bytes, offset - start)
    await inPieces(client, around, start, 'write', targetWriteError)
  })
}

async function zeroAligned(
  client: NbdClient,
  offset: number,
  lengthBytes: number,
  exclusively: Queue,
): Promise<void> {
  const { minBlockBytes: block, canZero } = client.volume
  const end = offset + lengthBytes
  const start = Math.min(end, roundUp(offset, block))
  const stop = Math.max(start, end - (end % block))
  const zeros = Buffer.alloc(
    canZero ? block : Math.min(client.volume.maxPayloadBytes, roundUp(lengthBytes, block)),
  )
  if (start > offset) await writeAligned(client, zeros.subarray(0, start - offset), offset, exclusively)
  const step = canZero ? NBD_ZERO_BYTES : zeros.length
  for (let at = start; at < stop; at += step) {
    const length = Math.min(step, stop - at)
    if (!canZero) await writeAligned(client, zeros.subarray(0, length), at, exclusively)
    else
      await client.writeZeroes(at, length).catch((error: unknown) => throwMapped(targetWriteError(error, at)))
  }
  if (end > stop) await writeAligned(client, zeros.subarray(0, end - stop), stop, exclusively)
}

/** All pieces at once: the connection pipelines them. */
async function inPieces(
  client: NbdClient,
  bytes: Uint8Array,
  offset: number,
  verb: 'read' | 'write',
  mapError: MapError,
): Promise<void> {
  const { maxPayloadBytes } = client.volume
  const pieces: Promise<void>[] = []
  for (let done = 0; done < bytes.length; done += maxPayloadBytes) {
    const piece = client[verb](bytes.subarray(done, done + maxPayloadBytes), offset + done)
    pieces.push(piece.catch((error: unknown) => throwMapped(mapError(error, offset + done))))
  }
  // Waits for all, so that no buffer is still in use when this throws.
  const failed = (await Promise.allSettled(pieces)).find((piece) => piece.status === 'rejected')
  if (failed) throw failed.reason
}

function throwMapped(error: FluidError): never {
  throw error
}

function roundUp(value: number, block: number): number {
  return Math.ceil(value / block) * block
}

type Queue = <T>(task: () => Promise<T>) => Promise<T>

/** Runs tasks one after another. */
function createQueue(): Queue {
  let last: Promise<unknown> = Promise.resolve()
  return (task) => {
    const run = last.then(task, task)
    last = run.catch(() => {})
    return run
  }
}
