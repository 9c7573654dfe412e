/** An agent sends to a paired receiver that lies: the job must say why it failed, and never be called complete. */
import { randomBytes } from 'node:crypto'
import { createServer, type AddressInfo } from 'node:net'
import test from 'ava'
import type { ErrorCode } from '../../protocol/errors.ts'
import { CHUNKS_PROTOCOL } from '../../protocol/ids.ts'
import { MAX_RANGES_PER_FRAME, WINDOW_BYTES } from '../../protocol/limits.ts'
import { eventually } from '../helpers/eventually.ts'
import { answerAttempts, type Attempt } from '../helpers/rogue-receiver.ts'
import { startRogue, type RoguePeer } from '../helpers/rogue-peer.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'

const KiB = 1024
/** Two windows, so that a lane has something to wait for. */
const SIZE_BYTES = WINDOW_BYTES + 300_000

interface Way {
  readonly title: string
  act(attempt: Attempt): Promise<void>
  /** Why the job failed in the end; PROTOCOL_VIOLATION unless given. */
  readonly code?: ErrorCode
  readonly maxGrowthBytes?: number
}

/** Receives soundly up to the moment of the receipt. */
async function completed(attempt: Attempt): Promise<Uint8Array> {
  await attempt.begin()
  const entries = await attempt.pretend()
  await attempt.talk.hear('complete')
  return entries
}

const WAYS: readonly Way[] = [
  { title: 'agrees to another size', act: ({ agree }) => agree({ sizeBytes: SIZE_BYTES + 1 }) },
  { title: 'agrees to another destination', act: ({ agree }) => agree({ destination: 'other.raw' }) },
  { title: 'agrees to another job', act: ({ agree }) => agree({ job: randomBytes(16) }) },
  {
    title: 'agrees to a chunking that was not offered',
    act: ({ agree }) => agree({ chunking: 'rabin-v9/1' }),
  },
  { title: 'agrees to a codec that was not offered', act: ({ agree }) => agree({ codecs: ['rle'] }) },
  {
    title: 'agrees to more lanes than were offered',
    act: ({ agree, offer }) => agree({ lanes: offer.lanes + 1 }),
  },
  { title: 'agrees to replace what was not to be replaced', act: ({ agree }) => agree({ replace: true }) },
  { title: 'agrees to another snapshot', act: ({ agree }) => agree({ snapshot: 'older' }) },
  {
    title: 'agrees in the name of another receiver',
    act: ({ agree, sender }) => agree({ receiver: sender }),
  },
  { title: 'agrees for another sender', act: ({ agree, rogue }) => agree({ sender: rogue.peerId }) },
  { title: 'agrees with a signature of another key', act: ({ agree }) => agree({}, other) },
  {
    title: 'agrees without a signature',
    act: ({ agree }) => agree({}, { sign: async () => new Uint8Array(64) }),
  },
  {
    title: 'sends an agreement that is garbage',
    act: async ({ talk }) =>
      talk.send({ kind: 'agreement', body: randomBytes(100), signature: new Uint8Array(64) }),
  },
  { title: 'answers an offer with a receipt', act: ({ receipt }) => receipt(new Uint8Array()) },
  {
    title: 'holds what lies beyond the volume',
    act: async ({ agree, talk }) => {
      await agree()
      talk.send({ kind: 'committed', ranges: [{ start: 0, end: SIZE_BYTES + WINDOW_BYTES }], more: false })
    },
  },
  {
    title: 'holds what is no window',
    act: async ({ agree, talk }) => {
      await agree()
      talk.send({ kind: 'committed', ranges: [{ start: 1, end: 2 }], more: false })
    },
  },
  {
    title: 'holds the same over and over',
    maxGrowthBytes: 64 * KiB * KiB,
    act: async ({ agree, talk }) => {
      await agree()
      for (let i = 0; i < 10; i++)
        talk.send({ kind: 'committed', ranges: [{ start: 0, end: SIZE_BYTES }], more: true })
    },
  },
  {
    title: 'says that more follows, and nothing else',
    act: async ({ agree, talk }) => {
      await agree()
      for (let i = 0; i < 10; i++) talk.send({ kind: 'committed', ranges: [], more: true })
    },
  },
  {
    title: 'sends a checkpoint before it says what it holds',
    act: async ({ agree, talk }) => {
      await agree()
      talk.send({ kind: 'checkpoint', ranges: [{ start: 0, end: SIZE_BYTES }] })
    },
  },
  {
    title: 'wants by a bitmap that is too short',
    act: async ({ begin, lane }) => {
      await begin()
      const taken = await lane()
      await taken.hear('have')
      taken.write({ want: { window: 1 } }, new Uint8Array())
    },
  },
  {
    title: 'wants by a bitmap that is too long',
    act: async ({ begin, lane }) => {
      await begin()
      const taken = await lane()
      await taken.hear('have')
      taken.write({ want: { window: 1 } }, new Uint8Array(100))
    },
  },
  {
    title: 'wants a window that was not announced',
    act: async ({ begin, lane }) => (
      await begin(),
      (await lane()).write({ want: { window: 9 } }, Uint8Array.of(1))
    ),
  },
  {
    title: 'wants a window twice',
    act: async ({ begin, lane }) => {
      await begin()
      const taken = await lane()
      const { payload } = await taken.hear('have')
      for (let i = 0; i < 2; i++)
        taken.write({ want: { window: 1 } }, new Uint8Array(Math.ceil(payload.length / 44 / 8)).fill(1))
    },
  },
  {
    title: 'floods a lane with wants',
    maxGrowthBytes: 128 * KiB * KiB,
    act: async ({ begin, lane }) => {
      await begin()
      const taken = await lane()
      for (let i = 1; i < 10_000; i++) taken.write({ want: { window: i } }, new Uint8Array(128))
    },
  },
  {
    title: 'acknowledges a byte of a window',
    act: async ({ begin, lane, talk }) => {
      await begin()
      await (await lane()).hear('have')
      talk.send({ kind: 'checkpoint', ranges: [{ start: 0, end: 1 }] })
    },
  },
  {
    title: 'acknowledges what lies beyond the volume',
    act: async ({ begin, talk }) => {
      await begin()
      const ranges = Array.from({ length: MAX_RANGES_PER_FRAME }, (_, i) => ({
        start: 2 ** 40 + 2 * i,
        end: 2 ** 40 + 2 * i + 1,
      }))
      talk.send({ kind: 'checkpoint', ranges })
    },
  },
  {
    title: 'acknowledges a window twice',
    act: async ({ begin, lane, talk }) => {
      await begin()
      const { message } = await (await lane()).hear('have')
      const ranges = [{ start: message.start, end: message.end }]
      for (let i = 0; i < 2; i++) talk.send({ kind: 'checkpoint', ranges })
    },
  },
  {
    title: 'sends data to the sender',
    act: async ({ begin, lane }) => (await begin(), (await lane()).data(1, 0, 1, randomBytes(100))),
  },
  {
    title: 'announces windows to the sender',
    act: async ({ begin, lane }) => (await begin(), (await lane()).have(1, 0, SIZE_BYTES, new Uint8Array())),
  },
  {
    title: 'gives a receipt before anything was sent',
    act: async ({ begin, receipt }) => (await begin(), await receipt(new Uint8Array())),
  },
  {
    title: 'says complete, which is the sender’s to say',
    act: async ({ begin, talk }) => {
      await begin()
      const totals = { sentBytes: 0, wireBytes: 0, resumedBytes: 0, startedAtMs: 0, path: 'tls' }
      talk.send({ kind: 'complete', root: new Uint8Array(32), totals })
    },
  },
  {
    title: 'gives a receipt for another root',
    code: 'VERIFY_MISMATCH',
    act: async (attempt) => attempt.receipt(await completed(attempt), { root: randomBytes(32) }),
  },
  {
    title: 'gives a receipt for another job',
    code: 'VERIFY_MISMATCH',
    act: async (attempt) => attempt.receipt(await completed(attempt), { job: randomBytes(16) }),
  },
  {
    title: 'gives a receipt for another destination',
    code: 'VERIFY_MISMATCH',
    act: async (attempt) => attempt.receipt(await completed(attempt), { destination: 'other.raw' }),
  },
  {
    title: 'gives a receipt for another size',
    code: 'VERIFY_MISMATCH',
    act: async (attempt) => attempt.receipt(await completed(attempt), { sizeBytes: 1 }),
  },
  {
    title: 'gives a receipt over more data than there is',
    code: 'VERIFY_MISMATCH',
    act: async (attempt) => attempt.receipt(await completed(attempt), { dataBytes: 2 ** 50 }),
  },
  {
    title: 'gives a receipt in the name of another receiver',
    code: 'VERIFY_MISMATCH',
    act: async (attempt) => attempt.receipt(await completed(attempt), { receiver: attempt.sender }),
  },
  {
    title: 'gives a receipt signed by another key',
    code: 'VERIFY_MISMATCH',
    act: async (attempt) => attempt.receipt(await completed(attempt), {}, other),
  },
  {
    title: 'gives a receipt without a signature',
    code: 'VERIFY_MISMATCH',
    act: async (attempt) =>
      attempt.receipt(await completed(attempt), {}, { sign: async () => new Uint8Array(64) }),
  },
  {
    title: 'calls everything durable that it never took, and gives a receipt for zeros',
    code: 'VERIFY_MISMATCH',
    act: async (attempt) => {
      await completed(attempt)
      await attempt.receipt(new Uint8Array())
    },
  },
]

let victim: Victim
let rogue: RoguePeer
let other: RoguePeer
let source: string

test.before(async () => {
  victim = await openVictim()
  rogue = await victim.rogue()
  other = await startRogue(victim.agent.ready.addrs[0])
  source = await victim.file('sent.raw', randomBytes(SIZE_BYTES))
})
test.after.always(async () => {
  await other[Symbol.asyncDispose]()
  await victim[Symbol.asyncDispose]()
})

for (const { title, act, code = 'PROTOCOL_VIOLATION', maxGrowthBytes } of WAYS) {
  test.serial(`a job to a receiver that ${title} fails and says why`, async (t) => {
    const peakBytes = process.resourceUsage().maxRSS * KiB
    await using _answering = await answerAttempts(rogue, act)
    const { job } = await victim.agent.api.move({
      source,
      peer: rogue.peerId,
      destination: 'sent.raw',
      lanes: 1,
    })
    const states = new Set<string>()
    for await (const { state } of victim.agent.api.watch({ job })) states.add(state)
    const report = await victim.job(job)
    t.is(report?.state, 'failed')
    t.is(report?.error?.code, code, report?.error?.message)
    t.false(states.has('complete'))
    await t.throwsAsync(victim.agent.api.receipt({ job }))
    if (maxGrowthBytes) t.true(process.resourceUsage().maxRSS * KiB - peakBytes < maxGrowthBytes)
    await victim.serves(t)
  })
}

const WHOLE = [{ start: 0, end: SIZE_BYTES }]

test.serial('a receiver that knows minor 2 hears complete before it has acknowledged anything', async (t) => {
  await using _answering = await answerAttempts(rogue, async (attempt) => {
    const { agree, talk, receipt } = attempt
    await agree({ minor: 2 })
    talk.send({ kind: 'committed', ranges: [], more: false })
    const entries = await attempt.take()
    await talk.hear('complete')
    talk.send({ kind: 'checkpoint', ranges: WHOLE })
    await receipt(entries)
    await talk.hear('receipt')
    await talk.close()
  })
  const spec = { source, peer: rogue.peerId, destination: 'sent.raw', lanes: 1 }
  const { job } = await victim.agent.api.move(spec)
  for await (const { state } of victim.agent.api.watch({ job })) if (state === 'complete') break
  t.is((await victim.job(job))?.state, 'complete')
})

test.serial(
  'a receiver that leaves when it has signed is given the receipt that both signed again',
  async (t) => {
    let attempts = 0
    const given = Promise.withResolvers<void>()
    let entries: Uint8Array = new Uint8Array()
    await using _answering = await answerAttempts(rogue, async ({ agree, talk, take, receipt }) => {
      const first = ++attempts === 1
      await agree({ minor: 2 })
      talk.send({ kind: 'committed', ranges: first ? [] : WHOLE, more: false })
      if (first) entries = await take()
      await talk.hear('complete')
      await receipt(entries)
      await talk.hear('receipt')
      if (first) return talk.abort()
      await talk.close()
      given.resolve()
    })
    const spec = { source, peer: rogue.peerId, destination: 'sent.raw', lanes: 1 }
    const { job } = await victim.agent.api.move(spec)
    const states: string[] = []
    for await (const { state } of victim.agent.api.watch({ job })) states.push(state)
    t.is(states.at(-1), 'complete', 'For its owner the job is over')
    const signed = await victim.agent.api.receipt({ job })
    await given.promise
    t.is((await victim.job(job))?.state, 'complete')
    t.deepEqual(await victim.agent.api.receipt({ job }), signed)
    t.is(attempts, 2)
  },
)

test.serial('a receiver of an older minor hears complete when everything is acknowledged', async (t) => {
  await using _answering = await answerAttempts(rogue, async (attempt) => {
    const { begin, talk, receipt } = attempt
    await begin()
    const entries = await attempt.take()
    talk.send({ kind: 'checkpoint', ranges: [{ start: 0, end: WINDOW_BYTES }] })
    await eventually(async () => ((await victim.job(id))?.doneBytes === WINDOW_BYTES ? true : undefined))
    early = talk.heard.some(({ kind }) => kind === 'complete')
    talk.send({ kind: 'checkpoint', ranges: [{ start: WINDOW_BYTES, end: SIZE_BYTES }] })
    await talk.hear('complete')
    await receipt(entries)
    await talk.hear('receipt')
    await talk.close()
  })
  let id = ''
  let early: boolean | undefined
  const spec = { source, peer: rogue.peerId, destination: 'sent.raw', lanes: 1 }
  id = (await victim.agent.api.move(spec)).job
  for await (const { state } of victim.agent.api.watch({ job: id })) if (state === 'complete') break
  t.false(early)
})

test.serial('a job that its owner paused is not completed before it goes on', async (t) => {
  let early: boolean | undefined
  const taken = Promise.withResolvers<void>()
  await using _answering = await answerAttempts(rogue, async (attempt) => {
    const { begin, talk, receipt } = attempt
    await begin()
    const entries = await attempt.take()
    // Before that it would hold back what is not handed out.
    taken.resolve()
    await talk.hear('pause')
    talk.send({ kind: 'checkpoint', ranges: WHOLE })
    await eventually(async () => ((await victim.job(id))?.doneBytes === SIZE_BYTES ? true : undefined))
    early = talk.heard.some(({ kind }) => kind === 'complete')
    await victim.agent.api.resume({ job: id })
    await talk.hear('complete')
    await receipt(entries)
    await talk.hear('receipt')
    await talk.close()
  })
  const spec = { source, peer: rogue.peerId, destination: 'sent.raw', lanes: 1 }
  const { job: id } = await victim.agent.api.move(spec)
  await taken.promise
  await victim.agent.api.pause({ job: id })
  for await (const { state } of victim.agent.api.watch({ job: id })) if (state === 'complete') break
  t.false(early)
  t.is((await victim.job(id))?.state, 'complete')
})

test.serial('a receiver that opens more lanes than were agreed on, or one twice, gets no more', async (t) => {
  const outcome = Promise.withResolvers<number>()
  await using _answering = await answerAttempts(rogue, async ({ begin, lane }) => {
    await begin()
    const lanes = await Promise.all([0, 0, 0, 1, 2, 63].map((number) => lane(number)))
    await lanes[0].hear('have')
    outcome.resolve(lanes.filter(({ socket }) => !socket.destroyed).length)
  })
  const before = (await victim.refused())['socket-not-taken'] ?? 0
  const { job } = await victim.agent.api.move({
    source,
    peer: rogue.peerId,
    destination: 'sent.raw',
    lanes: 1,
  })
  t.is(await outcome.promise, 1)
  t.is((await victim.refused())['socket-not-taken'], before + 5)
  await victim.agent.api.cancel({ job })
  await victim.serves(t)
})

test.serial('a receiver that keeps saying that it cannot dial is dialed once', async (t) => {
  const dialed: number[] = []
  const server = createServer((socket) => {
    dialed.push(1)
    socket.on('error', () => {}).destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const told = Promise.withResolvers<void>()
  // The last way to send is taken, and nothing comes of it.
  await rogue.node.handle(CHUNKS_PROTOCOL, () => {})
  t.teardown(() => rogue.node.unhandle(CHUNKS_PROTOCOL))
  const { port } = server.address() as AddressInfo
  await using _answering = await answerAttempts(rogue, async ({ agree, talk }) => {
    await agree({}, rogue, [`127.0.0.1:${port}`])
    talk.send({ kind: 'committed', ranges: [], more: false })
    for (let i = 0; i < 50; i++) talk.send({ kind: 'lane-report', opened: 0, reason: 'again' })
    await talk.hear('lane-report')
    talk.send({ kind: 'cancel', reason: 'enough' })
    await talk.ended
    told.resolve()
  })
  const { job } = await victim.agent.api.move({
    source,
    peer: rogue.peerId,
    destination: 'sent.raw',
    lanes: 1,
  })
  await told.promise
  for await (const _report of victim.agent.api.watch({ job }));
  // Once to see who answers, once for the lane.
  t.true(dialed.length <= 2, String(dialed.length))
})
