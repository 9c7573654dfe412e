/**
 * The other end of `verify`: reads the volume of a finished job again for its peer. Reading is dear, so one request of a
 * peer is answered at a time, few wait, and only so many are taken in a minute.
 */
import type { ControlMessageOf } from '../../protocol/control-message.ts'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import type { ControlStream } from '../viaduct/control-stream.ts'
import { createFailureLimit } from '../mesh/failure-limit.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'

export interface VerifyAnswers {
  /** Answers a request, with a root or with the reason why there is none. */
  answer(stream: ControlStream, request: ControlMessageOf<'verify-request'>): Promise<void>
}

export interface VerifySubjects {
  find(id: string): Job | undefined
  /** Root of a job's volume here, read again. */
  readAgain(job: Job, deep: boolean, signal: AbortSignal): Promise<{ root: Uint8Array; checkedBytes: number }>
}

/** Answers for one agent. */
export function createVerifyAnswers(
  { bounds, log, mesh: { policy, refusals } }: Pick<JobParts, 'bounds' | 'log' | 'mesh'>,
  { find, readAgain }: VerifySubjects,
): VerifyAnswers {
  const taken = createFailureLimit({ max: bounds.verifiesPerMinute, now: Date.now })
  /** Of each peer: its last request, which settles when all before it are answered, and how many there are. */
  const queues = new Map<string, { last: Promise<unknown>; length: number }>()

  function jobOf({ peer }: ControlStream, id: Uint8Array): Job {
    const job = find(Buffer.from(id).toString('hex'))
    if (!job || job.record.peer !== peer)
      throw new FluidError('JOB_UNKNOWN', 'This agent knows no such job of yours')
    if (job.record.direction === 'in' && !policy.grantFor(peer))
      throw new FluidError('POLICY_DENIED', 'This peer may have nothing read here')
    return job
  }

  /** Runs `work` when those before it of the same peer are done. */
  async function inTurn<T>(peer: string, work: () => Promise<T>): Promise<T> {
    const queue = queues.get(peer) ?? { last: Promise.resolve(), length: 0 }
    if (queue.length > bounds.verifiesWaiting || taken.isReached(peer)) {
      refusals.count('verify')
      throw new FluidError('LIMIT_EXCEEDED', 'This peer asks to have volumes read again too often', {
        peer,
      })
    }
    taken.fail(peer)
    queues.set(peer, queue)
    queue.length++
    const turn = queue.last.then(work)
    queue.last = turn.catch(() => {})
    try {
      return await turn
    } finally {
      if (--queue.length === 0) queues.delete(peer)
    }
  }

  return {
    async answer(stream, { job: id, deep }) {
      try {
        jobOf(stream, id)
        const { root, checkedBytes } = await inTurn(stream.peer, async () => {
          stream.signal.throwIfAborted()
          const job = jobOf(stream, id)
          return await readAgain(job, deep, stream.signal).catch((error: unknown) => {
            log.info({ job: job.id, error }, 'A volume could not be read again for its peer')
            throw tellable(error)
          })
        })
        await stream.send({ kind: 'verify-result', root, checkedBytes })
      } catch (error) {
        const { code, message } = asFluidError(error)
        await stream.send({ kind: 'verify-result', checkedBytes: 0, error: { code, message } })
      }
    },
  }
}

/** What a peer hears of it: of other errors the code only, since their messages tell paths, and what qemu says of files. */
function tellable(error: unknown): FluidError {
  const known = asFluidError(error)
  if (known.code === 'JOB_STATE' || known.code === 'VERIFY_MISMATCH') return known
  return new FluidError(known.code, 'The volume could not be read again', { cause: error })
}
