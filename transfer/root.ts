/** The root of a volume: from the journal of a job, or by reading the volume again in all worker threads. */
import { FluidError } from '../protocol/errors.ts'
import type { Chunking } from './chunker.ts'
import type { Journal } from './journal.ts'
import type { JournalRecord } from './journal-record.ts'
import type { LaneHandle, LanePool } from './lane-pool.ts'
import { LeadingDigest, type VolumeDigest } from './leading-digest.ts'
import type { Source } from './source.ts'
import { windows } from './window.ts'

/** Windows read, or being read, that the consumer has not taken: they wait for one that is slow. */
const MAX_WINDOWS_AHEAD = 64

/**
 * The root of what the journal holds, and of windows that are `pending`: on their way into it. Throws VERIFY_MISMATCH unless
 * both together cover the whole volume.
 */
export async function journaledDigest(
  journal: Journal,
  sizeBytes: number,
  chunking: string,
  pending: readonly JournalRecord[] = [],
): Promise<VolumeDigest> {
  const known = journal.done.clone().addAll(pending)
  if (!known.contains(0, sizeBytes)) {
    const missing = sizeBytes - known.totalBytes
    throw new FluidError(
      'VERIFY_MISMATCH',
      `The journal lacks ${missing} of ${sizeBytes} bytes of the volume`,
    )
  }
  let digest = journal.takeLeading(sizeBytes, chunking)
  // What was read once more holds, not what was digested of it.
  if (pending.some(({ start, end }) => journal.done.intersects(start, end)))
    digest = new LeadingDigest(sizeBytes, chunking)
  if (digest.end < sizeBytes)
    for await (const record of journal.recordsWith(pending, digest.end)) digest.add(record)
  return digest.finish()
}

/** Reads the whole volume with every thread of the pool; `onRead` hears how far it is, in bytes of the volume. */
export async function readDigest(
  pool: LanePool,
  volume: { readonly url: string; readonly source: Source },
  chunking: Chunking,
  options: { lanes: number; signal: AbortSignal; onRead?: (bytes: number) => void },
): Promise<VolumeDigest> {
  const digest = new LeadingDigest(volume.source.sizeBytes, chunking)
  for await (const record of readRecords(pool, volume, chunking, options)) digest.add(record)
  return digest.finish()
}

/** The manifest entries of a volume, window by window in order, read by `lanes` threads. */
export async function* readRecords(
  pool: LanePool,
  { url, source }: { readonly url: string; readonly source: Source },
  chunking: Chunking,
  { lanes, signal, onRead }: { lanes: number; signal: AbortSignal; onRead?: (bytes: number) => void },
): AsyncGenerator<JournalRecord> {
  signal.throwIfAborted()
  const plan = windows([{ start: 0, end: source.sizeBytes }], (from) => source.extents(from, { signal }))
  const ready = new Map<number, JournalRecord>()
  const handles: LaneHandle[] = []
  const asking: LaneHandle[] = []
  let handedOut = 0
  let serving: Promise<unknown> = Promise.resolve()
  let failure: unknown
  let wake = Promise.withResolvers<void>()
  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  const fail = (error: unknown) => {
    failure ??= error
    stir()
  }
  const abort = () => fail(signal.reason)
  /** Hands windows to the lanes that ask, as long as few are read and not taken yet. */
  const serve = () => {
    while (asking.length > 0 && handedOut < MAX_WINDOWS_AHEAD) {
      const lane = asking.shift()!
      handedOut++
      serving = serving
        .then(() => plan.next())
        .then(({ done, value }) => lane.send(done ? { type: 'finish' } : { type: 'window', ...value }))
        .catch(fail)
    }
  }
  signal.addEventListener('abort', abort, { once: true })
  try {
    for (let i = 0; i < lanes; i++) {
      const lane = pool.open({ role: 'scan', sourceUrl: url, chunking }, (message) => {
        if (message.type === 'next') {
          asking.push(lane)
          serve()
        } else if (message.type === 'scanned') {
          ready.set(message.start, message)
          stir()
        } else if (message.type === 'closed' && message.error) {
          fail(new FluidError(message.error.code, message.error.message, { offset: message.error.offset }))
        }
      })
      handles.push(lane)
    }
    for (let at = 0; at < source.sizeBytes;) {
      if (failure !== undefined) throw failure as Error
      const record = ready.get(at)
      if (!record) {
        await wake.promise
        continue
      }
      ready.delete(at)
      handedOut--
      serve()
      at = record.end
      onRead?.(at)
      yield record
    }
  } finally {
    signal.removeEventListener('abort', abort)
    for (const lane of handles) lane.abort()
    await Promise.all(handles.map(({ closed }) => closed))
  }
}
