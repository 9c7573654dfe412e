/**
 * How long a target is waited for that is silent, or asks for no lease: as long as it could hold one, and little longer,
 * since nothing of it runs from then on and all further waiting is downtime.
 */
import { FluidError } from '../../protocol/errors.ts'
import { LEASE_MS } from '../../protocol/limits.ts'
import { grantedUntil } from './lease.ts'

/** A target that lives asks for a lease three times meanwhile, and says that it lives twice. */
const SILENCE_MS = grantedUntil(0, LEASE_MS)
/** One that talks and holds no lease is about to end it by itself, which takes no longer. */
const IDLE_MS = 20_000
const TICK_MS = 100
/** Of the time between two looks; more means that this process stood still, and could hear nobody. */
const MAX_TICK_MS = 2 * TICK_MS

export interface Silence extends Disposable {
  /** Aborted with TIMEOUT when the target holds no lease any more and was silent, or asks for none, or is past the deadline. */
  readonly signal: AbortSignal
}

export interface SilenceOptions {
  /** When it was heard last, heartbeats included; performance.now(). */
  heardAt(): number
  /** When its last lease has surely ended. */
  leaseEndsAt(): number
  /** When it should have been done, however much it says. */
  readonly deadlineAt: number
  /** How long it may talk without a lease; IDLE_MS when left out. */
  readonly idleMs?: number
}

export function watchSilence(options: SilenceOptions): Silence {
  const { heardAt, leaseEndsAt, deadlineAt, idleMs: mostIdleMs = IDLE_MS } = options
  const controller = new AbortController()
  let heard = heardAt()
  let lookedAt = performance.now()
  let silentMs = 0
  let idleMs = 0
  const timer = setInterval(() => {
    const now = performance.now()
    const passedMs = Math.min(MAX_TICK_MS, now - lookedAt)
    lookedAt = now
    silentMs = heardAt() > heard ? 0 : silentMs + passedMs
    heard = heardAt()
    idleMs = now > leaseEndsAt() ? idleMs + passedMs : 0
    if (now > deadlineAt) controller.abort(late('The target came to no end'))
    else if (idleMs > 0 && silentMs > SILENCE_MS) controller.abort(late('The target fell silent'))
    else if (idleMs > mostIdleMs) controller.abort(late('The target asks for no lease any more'))
  }, TICK_MS)
  return { signal: controller.signal, [Symbol.dispose]: () => clearInterval(timer) }
}

function late(message: string): FluidError {
  return new FluidError('TIMEOUT', message, { hint: 'The machines run here again; the line may be cut' })
}
