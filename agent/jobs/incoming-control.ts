/** What the two sides of a job that receives say to each other while its data flows: their owners' wishes, and the end. */
import type { ControlMessageOf } from '../../protocol/control-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import { isPaused } from '../../protocol/state.ts'
import type { Inbound } from '../../transfer/inbound.ts'
import type { ControlStream } from '../viaduct/control-stream.ts'
import { withVerdict } from '../viaduct/peer-verdict.ts'
import type { IncomingAttempt } from './attempt.ts'

/** The sender's side of the conversation until it says that everything is durable. */
export async function hear(attempt: IncomingAttempt): Promise<ControlMessageOf<'complete'>> {
  const { parts, job, viaduct } = attempt
  const { stream } = viaduct
  for (;;) {
    const message = await stream.receive()
    switch (message.kind) {
      case 'complete':
        return message
      case 'cancel':
        throw cancelled(message.reason)
      case 'pause':
      case 'resume':
        await showPause(attempt)
        break
      case 'lane-report':
        if (message.opened === 0)
          parts.log.info({ job: job.id }, 'Lanes ride the mesh: no socket connects either way')
        break
      case 'status':
        parts.log.warn({ job: job.id, code: message.code }, message.message)
        break
      default:
        throw new FluidError('PROTOCOL_VIOLATION', `The sender sent ${message.kind} while data flows`)
    }
  }
}

/** The sender may say that it is done while what it sent is on its way. Throws CANCELLED when it takes its word back. */
export async function untilPlaced({ viaduct }: IncomingAttempt, inbound: Inbound): Promise<void> {
  const { stream } = viaduct
  const placed = new AbortController()
  const hearing = hearCancel(stream, placed.signal)
  hearing.catch(() => {})
  try {
    await withVerdict(Promise.race([inbound.untilPlaced(), hearing, inbound.failed]), hearing)
  } finally {
    placed.abort()
  }
}

async function hearCancel(stream: ControlStream, signal: AbortSignal): Promise<never> {
  for (;;) {
    const message = await stream.receive({ signal })
    if (message.kind === 'cancel') throw cancelled(message.reason)
  }
}

/** Does what the owner on this side wants. */
export async function heed(attempt: IncomingAttempt): Promise<void> {
  const { stream } = attempt.viaduct
  const { wanted } = attempt.job.record
  if (wanted === 'cancel') {
    await stream.send({ kind: 'cancel', reason: 'Cancelled at the receiver' }).catch(() => {})
    await stream.fail(new FluidError('CANCELLED', 'The job was cancelled at the receiver'))
  } else {
    const held = stream.state === 'paused-by-responder' || stream.state === 'paused-by-both'
    if (wanted === 'pause' && !held)
      await stream.send({ kind: 'pause', reason: 'Paused at the receiver' }).catch(() => {})
    if (wanted === 'run' && held) await stream.send({ kind: 'resume' }).catch(() => {})
    await showPause(attempt)
  }
}

/** Makes the job's state say what the viaduct's says. */
async function showPause({ job, viaduct }: IncomingAttempt): Promise<void> {
  const state = isPaused(viaduct.stream.state) ? 'paused' : 'running'
  if (job.record.state !== state) await job.become(state)
}

/** Why the sender ended the job. */
export function cancelled(reason: string): FluidError {
  return new FluidError('CANCELLED', reason || 'The sender cancelled the job')
}
