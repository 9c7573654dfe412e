/**
 * Ends what stands still: a peer that holds a job and its place by words alone, while it sends or takes nothing. A peer
 * that moves a byte now and then is slow, not silent, and is left alone.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { State } from '../../protocol/state.ts'
import type { ControlStream } from '../viaduct/control-stream.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'

export interface ProgressWatch {
  /** Changes whenever something moves. */
  moved(): number
  /** False while nobody has to do anything: paused, or waiting for a person. */
  owed(): boolean
  /** Called once, when nothing moved for `timeoutMs` while something was owed. */
  onStall(error: FluidError): void
  readonly timeoutMs: number
}

/** Watches until disposed, or until it has called onStall(). */
export function watchProgress({ moved, owed, onStall, timeoutMs }: ProgressWatch): Disposable {
  let seen = moved()
  let since = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    const found = moved()
    if (found !== seen || !owed()) {
      seen = found
      since = now
    } else if (now - since >= timeoutMs) {
      clearInterval(timer)
      onStall(new FluidError('TIMEOUT', `Nothing moved for ${Math.round((now - since) / 1000)} s`))
    }
  }, timeoutMs / 4)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/**
 * Runs an attempt on its viaduct, and ends the viaduct with TIMEOUT when nothing moves in a state in which the peer `owes`.
 * Bytes on lanes count, messages, and work that a heartbeat tells of.
 */
export async function whileMoving<T>(
  { parts, job, stream }: { parts: JobParts; job: Job; stream: ControlStream },
  owes: (state: State) => boolean,
  work: () => Promise<T>,
): Promise<T> {
  let stalled: FluidError | undefined
  using _watch = watchProgress({
    moved: () => job.record.counters.wireBytes + stream.progress,
    owed: () => owes(stream.state),
    onStall: (error) => {
      stalled = error
      parts.mesh.refusals.count('stalled')
      void stream.fail(error)
    },
    timeoutMs: parts.bounds.progressTimeoutMs,
  })
  try {
    return await work()
  } catch (error) {
    throw stalled ?? error
  }
}
