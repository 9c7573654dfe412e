/** Paired peers that take more than their share: of memory, of reading, of free space, of the patience of a receiver. */
import { randomBytes } from 'node:crypto'
import { readdir, rm, statfs } from 'node:fs/promises'
import test from 'ava'
import { VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import {
  INCOMING_LANE_BYTES,
  HOLE_BLOCK_BYTES,
  MAX_WINDOW_CHUNKS,
  WINDOW_BYTES,
} from '../../protocol/limits.ts'
import { eventually } from '../helpers/eventually.ts'
import { answerAttempts } from '../helpers/rogue-receiver.ts'
import { entriesOf } from '../helpers/rogue-lane.ts'
import type { RoguePeer } from '../helpers/rogue-peer.ts'
import { greet, moveChunk, offerOf, openJob } from '../helpers/rogue-sender.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'

/** Room for the two lanes of a job of one peer, and for one more lane of another; a table of recent chunks is far below a lane. */
const bounds = {
  incomingBytesPerPeer: 2.5 * INCOMING_LANE_BYTES,
  incomingBytes: 3.5 * INCOMING_LANE_BYTES,
  verifiesPerMinute: 6,
  verifiesWaiting: 1,
}

let victim: Victim
test.before(async () => {
  victim = await openVictim({ bounds })
})
test.after.always(() => victim[Symbol.asyncDispose]())

async function refusedFor(kind: string): Promise<number> {
  return (await victim.refused())[kind] ?? 0
}

/** Codes of the refusal of an offer, or undefined when it is agreed to. */
async function refusal(rogue: RoguePeer, changes: Parameters<typeof offerOf>[1] = {}) {
  const talk = await greet(rogue)
  talk.send({ kind: 'offer', ...offerOf(rogue, changes) })
  const answer = await eventually(() =>
    talk.heard.find(({ kind }) => kind === 'refusal' || kind === 'agreement'),
  )
  talk.send({ kind: 'cancel', reason: 'asked' })
  await talk.ended
  return answer.kind === 'refusal' ? answer.reasons.map(({ code }) => code) : undefined
}

test.serial('jobs of one peer, and of all, get no more memory than there is for them', async (t) => {
  const [one, two, three] = [await victim.rogue(), await victim.rogue(), await victim.rogue()]
  const before = await refusedFor('memory')
  const first = await openJob(one, victim.dataPort, { lanes: 2 })
  t.deepEqual(await refusal(one, { lanes: 1 }), ['LIMIT_EXCEEDED'])
  const second = await openJob(two, victim.dataPort, { lanes: 1 })
  t.deepEqual(await refusal(three, { lanes: 1 }), ['LIMIT_EXCEEDED'])
  t.deepEqual(await refusal(three, { lanes: 1, bench: true, destination: '.bench' }), ['LIMIT_EXCEEDED'])
  t.is(await refusedFor('memory'), before + 3)
  // An attempt that takes the place of its own predecessor needs no more.
  const again = await openJob(two, victim.dataPort, {
    lanes: 1,
    job: Buffer.from(second.id, 'hex'),
    destination: second.agreement.destination,
  })
  for (const { talk } of [first, second, again]) talk.abort()
  await eventually(async () => ((await refusal(three, { lanes: 2 })) === undefined ? true : undefined))
  await victim.serves(t)
})

test.serial('an honest sender waits for memory, and is served once there is some', async (t) => {
  const rogues = [await victim.rogue(), await victim.rogue()]
  const jobs = [
    await openJob(rogues[0], victim.dataPort, { lanes: 2 }),
    await openJob(rogues[1], victim.dataPort, { lanes: 1 }),
  ]
  const before = await refusedFor('memory')
  const served = victim.serves(t)
  // More often than broken frames are forgiven.
  await eventually(async () => ((await refusedFor('memory')) > before + 4 ? true : undefined))
  for (const { talk } of jobs) talk.abort()
  await served
})

test.serial('what a benchmark has an agent remember counts as memory of its peer', async (t) => {
  const rogue = await victim.rogue()
  const windows = 256
  const sizeBytes = windows * WINDOW_BYTES
  const bench = { bench: true, destination: '.bench', sizeBytes, allocatedBytes: 0, lanes: 2 } as const
  const job = await openJob(rogue, victim.dataPort, bench)
  using lane = await job.lane()
  // As many entries as a window may have, of one block that travels once a window: 45 KB to remember of each.
  const bytes = Buffer.alloc(HOLE_BLOCK_BYTES, 7)
  for (let i = 0; i < windows; i++) {
    const start = i * WINDOW_BYTES
    const chunks = Array.from({ length: MAX_WINDOW_CHUNKS }, (_, k) => ({
      offset: start + k * HOLE_BLOCK_BYTES,
      bytes,
    }))
    lane.have(i + 1, start, start + WINDOW_BYTES, entriesOf(chunks))
    lane.data(i + 1, 0, 1, bytes)
  }
  const status = await eventually(() => job.talk.heard.find((message) => message.kind === 'status'))
  t.is(status.code, 'LIMIT_EXCEEDED')
  await job.talk.ended
  t.is(await refusal(rogue, { ...bench, sizeBytes: 1 }), undefined)
  await victim.serves(t)
})

test.serial('a peer that asks to have a volume read again and again is refused after a while', async (t) => {
  const rogue = await victim.rogue()
  const id = Buffer.from(await moveChunk(rogue, victim.dataPort, randomBytes(100_000)), 'hex')
  const before = await refusedFor('verify')
  const codes = await Promise.all(
    Array.from({ length: 15 }, async () => {
      const talk = await greet(rogue)
      talk.send({ kind: 'verify-request', job: id, deep: true })
      return (await talk.hear('verify-result')).error?.code
    }),
  )
  const answered = codes.filter((code) => code === undefined).length
  t.true(answered >= 1 && answered <= bounds.verifiesPerMinute, codes.join())
  t.is(codes.filter((code) => code === 'LIMIT_EXCEEDED').length, 15 - answered)
  t.is(await refusedFor('verify'), before + 15 - answered)
  await victim.serves(t)
})

test.serial(
  'unfinished jobs of one peer claim no more than what is free, and nothing from others',
  async (t) => {
    const [one, other] = [await victim.rogue({ approve: 'ask' }), await victim.rogue()]
    const { bavail, bsize } = await statfs(one.folder)
    // The disk is in use by others meanwhile.
    const most = Math.floor(bavail * bsize * 0.6)
    const size = { sizeBytes: most, allocatedBytes: most }
    const talk = await greet(one)
    const offer = offerOf(one, size)
    talk.send({ kind: 'offer', ...offer })
    await talk.hear('pending')
    t.deepEqual(await refusal(one, { ...size, dryRun: true, endpoint: undefined }), ['NO_SPACE'])
    t.is(await refusal(other, { ...size, dryRun: true, endpoint: undefined }), undefined)
    talk.send({ kind: 'cancel', reason: 'enough' })
    await talk.ended
    await eventually(async () =>
      (await victim.job(Buffer.from(offer.job).toString('hex')))?.state === 'cancelled' ? true : undefined,
    )
    t.is(await refusal(one, { ...size, dryRun: true, endpoint: undefined }), undefined)
  },
)

for (const approve of ['auto', 'ask'] as const) {
  test.serial(
    `a job whose sender says that its source is gone fails, and leaves nothing (${approve})`,
    async (t) => {
      const rogue = await victim.rogue({ approve })
      const changes = { job: randomBytes(16), destination: 'gone.raw', lanes: 1 }
      if (approve === 'auto') (await openJob(rogue, victim.dataPort, changes)).talk.abort()
      const talk = await greet(rogue)
      talk.send({ kind: 'offer', ...offerOf(rogue, changes) })
      await talk.hear(approve === 'auto' ? 'agreement' : 'pending')
      talk.send({ kind: 'status', code: 'SOURCE_MISSING', message: 'There is no source', fatal: true })
      const job = changes.job.toString('hex')
      const report = await eventually(async () => {
        const found = await victim.job(job)
        return found?.state === 'failed' ? found : undefined
      })
      t.is(report.error?.code, 'SOURCE_MISSING')
      await eventually(async () =>
        (await readdir(rogue.folder)).some((name) => name.includes('gone')) ? undefined : true,
      )
    },
  )
}

test.serial(
  'a receiver learns that the source of a job is gone, also when it comes back later',
  async (t) => {
    const rogue = await victim.rogue()
    const source = await victim.file('gone.raw', randomBytes(300_000))
    const begun = Promise.withResolvers<void>()
    const answering = await answerAttempts(rogue, async ({ begin, talk }) => {
      await begin()
      await rm(source, { force: true })
      begun.resolve()
      talk.abort()
    })
    const { job } = await victim.agent.api.move({
      source,
      peer: rogue.peerId,
      destination: 'gone.raw',
      lanes: 1,
    })
    await begun.promise
    await answering[Symbol.asyncDispose]()
    const report = await eventually(async () => {
      const found = await victim.job(job)
      return found?.state === 'failed' ? found : undefined
    })
    t.is(report.error?.code, 'SOURCE_MISSING')
    t.false(rogue.node.getProtocols().includes(VIADUCT_PROTOCOL))
    // It is there again, and connects.
    const told = Promise.withResolvers<string | undefined>()
    await using _answering = await answerAttempts(rogue, async ({ agree, talk, offer }) => {
      void agree().catch(() => {})
      await talk.ended
      const last = talk.heard.at(-1)
      t.is(Buffer.from(offer.job).toString('hex'), job)
      told.resolve(last?.kind === 'status' && last.fatal ? last.code : last?.kind)
    })
    const connections = rogue.node.getConnections()
    await Promise.all(connections.map((connection) => connection.close()))
    await rogue.connect()
    t.is(await told.promise, 'SOURCE_MISSING')
  },
)
