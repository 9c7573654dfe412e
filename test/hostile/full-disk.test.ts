/** The disk under an agent's state is full while a peer's job needs it: the attempt ends, and the agent lives on. */
import { randomBytes } from 'node:crypto'
import test from 'ava'
import { Job } from '../../agent/jobs/job.ts'
import type { JobRecord } from '../../agent/jobs/job-record.ts'
import { entriesOf } from '../helpers/rogue-lane.ts'
import { openJob } from '../helpers/rogue-sender.ts'
import type { RoguePeer } from '../helpers/rogue-peer.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'

const MiB = 1024 * 1024

let victim: Victim
let rogue: RoguePeer

test.before(async () => {
  victim = await openVictim()
  rogue = await victim.rogue()
})
test.after.always(() => victim[Symbol.asyncDispose]())

/** No job's record can be written that is to say `what`, until disposed. */
function fullFor(what: Partial<JobRecord>): Disposable {
  const { update } = Job.prototype
  const [[key, value]] = Object.entries(what)
  Job.prototype.update = async function (change, options) {
    if (change[key as keyof JobRecord] === value) throw new Error('IO error: No space left on device')
    await update.call(this, change, options)
  }
  return { [Symbol.dispose]: () => void (Job.prototype.update = update) }
}

test.serial('a window that comes twice', async (t) => {
  const job = await openJob(rogue, victim.dataPort, { sizeBytes: 8 * MiB })
  const lane = await job.lane()
  lane.have(1, 0, 4 * MiB, entriesOf([{ offset: 0, bytes: randomBytes(4096) }]))
  await lane.hear('want')
  using _full = fullFor({ readBack: true })
  lane.have(2, 0, 4 * MiB, entriesOf([{ offset: 0, bytes: randomBytes(4096) }]))
  await Promise.all([lane.closed, job.talk.ended])
  await victim.serves(t)
})

test.serial('a job that its owner pauses', async (t) => {
  const job = await openJob(rogue, victim.dataPort, { sizeBytes: 8 * MiB })
  const lane = await job.lane()
  using _full = fullFor({ state: 'paused' })
  await victim.agent.api.pause({ job: job.id })
  await Promise.all([lane.closed, job.talk.ended])
  await victim.serves(t)
})
