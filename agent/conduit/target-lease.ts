/**
 * The target's end of leases: asks on whatever conversation there is, believes only what the source signed for a question
 * that is open, and tells the guard. What the guard was told is all that lets machines run.
 */
import { randomBytes } from 'node:crypto'
import { FluidError } from '../../protocol/errors.ts'
import { LEASE_MS, LEASE_NONCE_BYTES, MAX_RUN_LEASE_MS } from '../../protocol/limits.ts'
import type { Parties, Signed } from '../../protocol/relocation-message.ts'
import { openSigned } from '../../protocol/relocation-signed.ts'
import type { Fence } from './fence.ts'
import { heldUntil, letsRun, renewAt } from './lease.ts'
import { bootNow } from './lease-clock.ts'
import type { RelocationStream } from './target-stream.ts'

export interface LeaseHolder extends Disposable {
  /** A lease lets machines run now. */
  readonly letsRun: boolean
  /** Asks on this conversation from now on, until it ends or another takes its place. */
  attach(stream: RelocationStream): void
  /** The source's answer on `stream`. Throws PROTOCOL_VIOLATION for one that is not signed so, or to no open question. */
  heed(stream: RelocationStream, term: Signed): Promise<void>
  /** Asks now; resolves once a lease was given after the call. Rejects with the signal's reason. */
  renewed(signal: AbortSignal): Promise<void>
}

export interface LeaseHolderOptions {
  readonly parties: Parties
  readonly fence: Fence
  /** A lease began or was made longer; `lapsed` when none let machines run for a while before. */
  onHeld(lapsed: boolean): void
  /** The source grants no more. */
  onDenied(): void
  readonly now?: () => number
}

interface Question {
  readonly stream: RelocationStream
  readonly askedAt: number
}

/** How often it is asked. */
const ASK_MS = renewAt(0, LEASE_MS)

export function createLeaseHolder(options: LeaseHolderOptions): LeaseHolder {
  const { parties, fence, onHeld, onDenied, now = bootNow } = options
  const open = new Map<string, Question>()
  let until = Number.NEGATIVE_INFINITY
  let conversation: RelocationStream | undefined
  let waiting = Promise.withResolvers<void>()
  let writing: Promise<void> = Promise.resolve()

  function ask(): void {
    const stream = conversation
    if (!stream || stream.signal.aborted) return
    const nonce = randomBytes(LEASE_NONCE_BYTES)
    const askedAt = now()
    for (const [key, question] of open) if (askedAt - question.askedAt > MAX_RUN_LEASE_MS) open.delete(key)
    open.set(nonce.toString('hex'), { stream, askedAt })
    stream.send(0, { kind: 'ask', relocation: parties.relocation, nonce }).catch(() => {})
  }
  const asking = setInterval(ask, ASK_MS)

  return {
    get letsRun() {
      return letsRun(until, now())
    },
    attach(stream) {
      conversation = stream
      ask()
    },
    async heed(stream, signed) {
      const term = await openSigned('term', signed, parties)
      const key = Buffer.from(term.nonce).toString('hex')
      const question = open.get(key)
      if (term.relocation !== parties.relocation || question?.stream !== stream)
        throw new FluidError('PROTOCOL_VIOLATION', 'A lease answers no open question')
      open.delete(key)
      if (term.leaseMs === 0) {
        clearInterval(asking)
        onDenied()
        return
      }
      const end = heldUntil(question.askedAt, term.leaseMs)
      const lapsed = !letsRun(until, now())
      const told = { isTold: false }
      // One after the other, so that an older end never takes the place of a newer one.
      const writes = writing.then(async () => {
        if (end <= until) return
        await fence.extend(end)
        until = end
        told.isTold = true
      })
      // What the guard could not be told of is no lease.
      writing = writes.catch(() => {})
      await writing
      if (!told.isTold || !letsRun(until, now())) return
      onHeld(lapsed)
      waiting.resolve()
      waiting = Promise.withResolvers()
    },
    async renewed(signal) {
      signal.throwIfAborted()
      const { promise, reject } = Promise.withResolvers<never>()
      const stop = () => reject(signal.reason as Error)
      signal.addEventListener('abort', stop, { once: true })
      const given = waiting.promise
      ask()
      try {
        await Promise.race([given, promise])
      } finally {
        signal.removeEventListener('abort', stop)
      }
    },
    [Symbol.dispose]() {
      clearInterval(asking)
      open.clear()
      conversation = undefined
    },
  }
}
