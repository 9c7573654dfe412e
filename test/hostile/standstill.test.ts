/** Peers that go on talking on the viaduct and do nothing: the job ends, its place is free, and others are served. */
import { randomBytes } from 'node:crypto'
import test from 'ava'
import { eventually } from '../helpers/eventually.ts'
import type { RoguePeer, Talk } from '../helpers/rogue-peer.ts'
import { answerAttempts, type Attempt } from '../helpers/rogue-receiver.ts'
import { openJob } from '../helpers/rogue-sender.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'

/** Long for what is on one machine, short for a test. */
const PROGRESS_TIMEOUT_MS = 600

let victim: Victim
let rogue: RoguePeer

test.before(async () => {
  victim = await openVictim({ bounds: { progressTimeoutMs: PROGRESS_TIMEOUT_MS } })
  rogue = await victim.rogue()
})
test.after.always(() => victim[Symbol.asyncDispose]())

/** Says at all times that it is there, and no more. */
function beat(talk: Talk): Disposable {
  const timer = setInterval(() => talk.send({ kind: 'heartbeat', doneBytes: 0 }), PROGRESS_TIMEOUT_MS / 10)
  void talk.ended.then(() => clearInterval(timer))
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

async function stalled(): Promise<number> {
  return (await victim.refused())['stalled'] ?? 0
}

const SENDERS: readonly { title: string; lanes: number; begin?: boolean; done?: boolean }[] = [
  { title: 'opens no lane', lanes: 0 },
  { title: 'opens lanes, and announces nothing', lanes: 2 },
  { title: 'announces a window, and sends nothing of it', lanes: 1, begin: true },
  { title: 'says that all is sent, and sends nothing', lanes: 1, done: true },
]

for (const { title, lanes, begin, done } of SENDERS) {
  test.serial(`a sender that ${title} is given up, however often it says that it is there`, async (t) => {
    const before = await stalled()
    const job = await openJob(rogue, victim.dataPort)
    using _beating = beat(job.talk)
    const opened = await Promise.all(Array.from({ length: lanes }, (_, lane) => job.lane(lane)))
    if (begin) opened[0].have(1, 0, 1024 * 1024, new Uint8Array(0))
    if (done) job.complete(randomBytes(32))
    await job.talk.ended
    t.like(job.talk.heard.at(-1), { kind: 'status', code: 'TIMEOUT', fatal: true })
    await Promise.all(opened.map(({ closed }) => closed))
    const report = await eventually(async () => {
      const found = await victim.job(job.id)
      return found?.state === 'reconnecting' ? found : undefined
    })
    t.is(report.error?.code, 'TIMEOUT')
    t.is(await stalled(), before + 1)
    await victim.serves(t)
  })
}

test.serial('a sender that pauses is not given up', async (t) => {
  const before = await stalled()
  const job = await openJob(rogue, victim.dataPort)
  using _beating = beat(job.talk)
  job.talk.send({ kind: 'pause', reason: 'lunch' })
  await eventually(async () => ((await victim.job(job.id))?.state === 'paused' ? true : undefined))
  // Another job stands still for as long meanwhile.
  const other = await openJob(rogue, victim.dataPort)
  using _beatingToo = beat(other.talk)
  await other.talk.ended
  t.is((await victim.job(job.id))?.state, 'paused')
  t.is(await stalled(), before + 1)
  job.talk.send({ kind: 'resume' })
  await job.talk.ended
  t.is(await stalled(), before + 2)
})

const RECEIVERS: readonly { title: string; act(attempt: Attempt): Promise<unknown> }[] = [
  { title: 'answers no offer', act: async () => {} },
  { title: 'agrees, and does not say what it holds', act: ({ agree }) => agree() },
  { title: 'opens no lane', act: ({ begin }) => begin() },
  { title: 'wants nothing', act: async ({ begin, lane }) => (await begin(), await lane()) },
  {
    title: 'gives no receipt',
    act: async ({ begin, pretend, talk }) => (await begin(), await pretend(), await talk.hear('complete')),
  },
]

for (const { title, act } of RECEIVERS) {
  test.serial(`a receiver that ${title} is given up, however often it says that it is there`, async (t) => {
    const before = await stalled()
    const source = await victim.file('sent.raw', randomBytes(300_000))
    const given = Promise.withResolvers<Talk>()
    await using _answering = await answerAttempts(rogue, async (attempt) => {
      using _beating = beat(attempt.talk)
      await act(attempt)
      await attempt.talk.ended
      given.resolve(attempt.talk)
    })
    const spec = { source, peer: rogue.peerId, destination: 'sent.raw', lanes: 1 }
    const { job } = await victim.agent.api.move(spec)
    const { heard } = await given.promise
    t.like(heard.at(-1), { kind: 'status', code: 'TIMEOUT', fatal: true })
    t.true((await stalled()) > before)
    await victim.agent.api.cancel({ job })
    await victim.serves(t)
  })
}

test.serial('a receiver whose heartbeats tell of work is waited for', async (t) => {
  const source = await victim.file('sent.raw', randomBytes(300_000))
  const worked = Promise.withResolvers<void>()
  const before = await stalled()
  await using _answering = await answerAttempts(rogue, async ({ agree, talk }) => {
    await agree()
    const until = performance.now() + 2 * PROGRESS_TIMEOUT_MS
    let doneBytes = 0
    const working = setInterval(() => {
      talk.send({ kind: 'heartbeat', doneBytes: ++doneBytes })
      if (performance.now() < until) return
      clearInterval(working)
      worked.resolve()
    }, PROGRESS_TIMEOUT_MS / 10)
    await talk.ended
  })
  const { job } = await victim.agent.api.move({
    source,
    peer: rogue.peerId,
    destination: 'sent.raw',
    lanes: 1,
  })
  await worked.promise
  t.is(await stalled(), before)
  await victim.agent.api.cancel({ job })
})
