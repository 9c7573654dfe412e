/** A paired peer that speaks the control stream wrongly: reset, counted, and no job comes of it. */
import { randomBytes } from 'node:crypto'
import test from 'ava'
import { agreementSigningBytes } from '../../protocol/agreement.ts'
import { VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import { MAX_CONTROL_FRAMES_PER_SECOND } from '../../protocol/limits.ts'
import { eventually } from '../helpers/eventually.ts'
import { startRogue, talkOver, type RoguePeer, type Talk } from '../helpers/rogue-peer.ts'
import { greet, HELLO, offerOf, openJob } from '../helpers/rogue-sender.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'

interface Way {
  readonly title: string
  /** `talk` is fresh: nobody has said hello. */
  act(talk: Talk): void | Promise<void>
  /** What is counted; protocol-violation unless given. */
  readonly counted?: string
}

const hello = { kind: 'hello', ...HELLO } as const
const TOTALS = { sentBytes: 0, wireBytes: 0, resumedBytes: 0, startedAtMs: 0, path: 'tls' }
const complete = { kind: 'complete', root: new Uint8Array(32), totals: TOTALS } as const

const WAYS: readonly Way[] = [
  { title: 'an offer before its hello', act: (talk) => talk.send({ kind: 'offer', ...offerOf(rogue) }) },
  {
    title: 'hello twice',
    act: (talk) => {
      talk.send(hello)
      talk.send(hello)
    },
  },
  { title: 'a hello without capabilities', act: (talk) => talk.sendUnchecked({ hello: { major: 1 } }) },
  {
    title: 'a hello with a terminal escape',
    act: (talk) => talk.sendUnchecked({ hello: { ...wireHello(), agent: 'x\u001b[2J' } }),
  },
  {
    title: 'a hello with 10,000 codecs',
    act: (talk) =>
      talk.sendUnchecked({
        hello: {
          ...wireHello(),
          capabilities: { ...wireHello().capabilities, codecs: Array(10_000).fill('raw') },
        },
      }),
  },
  {
    title: 'a frame of 256 MiB by its prefix',
    act: (talk) => talk.sendBytes(Buffer.from('ffffff7f', 'hex')),
  },
  { title: 'a prefix of five bytes', act: (talk) => talk.sendBytes(Buffer.from('8080808001', 'hex')) },
  { title: 'a frame of no bytes', act: (talk) => talk.sendBytes(Uint8Array.of(0)) },
  {
    title: 'a frame that is no protobuf',
    act: (talk) => talk.sendBytes(Uint8Array.of(4, 0xff, 0xff, 0xff, 0xff)),
  },
  {
    title: 'a complete before its offer',
    act: async (talk) => {
      talk.send(hello)
      await talk.hear('hello')
      talk.send(complete)
    },
  },
  {
    title: 'a complete in the place of its accept',
    act: async (talk) => {
      await offered(talk)
      talk.send(complete)
    },
  },
  {
    title: 'an offer within an offer',
    act: async (talk) => {
      await offered(talk)
      talk.send({ kind: 'offer', ...offerOf(rogue) })
    },
  },
  {
    title: 'an agreement, which is the receiver’s to say',
    act: (talk) => {
      talk.send(hello)
      talk.send({ kind: 'agreement', body: new Uint8Array(10), signature: new Uint8Array(64) })
    },
  },
  {
    title: 'an accept without a signature',
    act: async (talk) => {
      await offered(talk)
      talk.sendUnchecked({ accept: { signature: new Uint8Array() } })
    },
  },
  {
    title: 'an accept signed for something else',
    act: async (talk) => {
      await offered(talk)
      talk.send({ kind: 'accept', signature: await rogue.sign(agreementSigningBytes(randomBytes(100))) })
    },
  },
  {
    title: 'an accept signed by another key',
    act: async (talk) => {
      const { body } = await offered(talk)
      await using other = await startRogue(victim.agent.ready.addrs[0])
      talk.send({ kind: 'accept', signature: await other.sign(agreementSigningBytes(body)) })
    },
  },
  {
    title: 'a checkpoint, which is the receiver’s to say',
    act: async (talk) => {
      await flowing(talk)
      talk.send({ kind: 'checkpoint', ranges: [{ start: 0, end: 1024 }] })
    },
  },
  {
    title: 'a receipt before its time',
    act: async (talk) => {
      await flowing(talk)
      talk.send({ kind: 'receipt', body: randomBytes(10), receiverSignature: new Uint8Array(64) })
    },
  },
  {
    title: 'a resume of what it did not pause',
    act: async (talk) => {
      await flowing(talk)
      talk.send({ kind: 'resume' })
    },
  },
  {
    title: 'a flood of heartbeats',
    counted: 'limit-exceeded',
    act: (talk) => {
      talk.send(hello)
      for (let i = 0; i < 10 * MAX_CONTROL_FRAMES_PER_SECOND; i++)
        talk.send({ kind: 'heartbeat', doneBytes: i })
    },
  },
  {
    title: 'a flood of messages of a later version',
    counted: 'limit-exceeded',
    act: (talk) => {
      talk.send(hello)
      for (let i = 0; i < 10 * MAX_CONTROL_FRAMES_PER_SECOND; i++)
        talk.sendBytes(Uint8Array.of(3, 0xfa, 0x3e, 0))
    },
  },
  {
    title: 'a storm of pauses and resumes',
    counted: 'limit-exceeded',
    act: async (talk) => {
      await flowing(talk)
      for (let i = 0; i < 5 * MAX_CONTROL_FRAMES_PER_SECOND; i++) {
        talk.send({ kind: 'pause', reason: 'storm' })
        talk.send({ kind: 'resume' })
      }
    },
  },
]

function wireHello() {
  const { major, minor, agent, capabilities } = HELLO
  const { chunkings, codecs, lanes, formats, maxLanes } = capabilities
  return {
    major,
    minor,
    agent,
    capabilities: {
      chunkings: [...chunkings],
      codecs: [...codecs],
      lanes: [...lanes],
      formats: [...formats],
      maxLanes,
    },
  }
}

async function offered(talk: Talk) {
  talk.send(hello)
  await talk.hear('hello')
  talk.send({ kind: 'offer', ...offerOf(rogue) })
  return talk.hear('agreement')
}

async function flowing(talk: Talk): Promise<void> {
  const { body } = await offered(talk)
  talk.send({ kind: 'accept', signature: await rogue.sign(agreementSigningBytes(body)) })
  await talk.hear('lane-report')
}

let victim: Victim
let rogue: RoguePeer & { readonly folder: string }

test.before(async () => {
  victim = await openVictim()
  rogue = await victim.rogue()
})
test.after.always(() => victim[Symbol.asyncDispose]())

for (const { title, act, counted = 'protocol-violation' } of WAYS) {
  test.serial(`a control stream with ${title} is ended and counted`, async (t) => {
    const before = { files: await victim.files(), count: (await victim.refused())[counted] ?? 0 }
    const talk = talkOver(await rogue.open(VIADUCT_PROTOCOL))
    await act(talk)
    await talk.ended
    await eventually(async () => ((await victim.refused())[counted] === before.count + 1 ? true : undefined))
    t.deepEqual(await victim.files(), before.files)
    t.false(talk.heard.some(({ kind }) => kind === 'receipt'))
    await victim.serves(t)
    for (const { job, state } of await victim.agent.api.jobs()) {
      if (state === 'reconnecting' || state === 'connecting') await victim.agent.api.cancel({ job })
    }
  })
}

test.serial('a viaduct of an unknown major version is refused with the reason', async (t) => {
  const talk = talkOver(await rogue.open(VIADUCT_PROTOCOL))
  talk.sendUnchecked({ hello: { ...wireHello(), major: 9 } })
  await talk.hear('hello')
  talk.send({ kind: 'offer', ...offerOf(rogue) })
  const { reasons } = await talk.hear('refusal')
  t.true(reasons.some(({ code }) => code === 'VERSION_UNSUPPORTED'))
})

test.serial(
  'thousands of viaducts of one peer stay at its share, and others are served meanwhile',
  async (t) => {
    const flood = await victim.rogue()
    const before = process.memoryUsage().rss
    const connection = await flood.connect()
    const opened = await Promise.allSettled(
      Array.from({ length: 1000 }, () =>
        connection.newStream(VIADUCT_PROTOCOL, {
          maxOutboundStreams: 2048,
          signal: AbortSignal.timeout(5000),
        }),
      ),
    )
    t.true(opened.some(({ status }) => status === 'fulfilled'))
    t.true(((await victim.refused())['viaduct-limit'] ?? 0) > 0)
    t.true(process.memoryUsage().rss - before < 256 * 1024 * 1024)
    await victim.serves(t)
    await connection.close()
  },
)

test.serial('jobs that a peer begins and leaves stay at its share', async (t) => {
  const hoarder = await victim.rogue()
  let refused: unknown
  for (let i = 0; i < 70 && !refused; i++) {
    const talk = await greet(hoarder)
    talk.send({ kind: 'offer', ...offerOf(hoarder) })
    await eventually(() => talk.heard.find(({ kind }) => kind === 'agreement' || kind === 'status'))
    refused = talk.heard.find(({ kind }) => kind === 'status')
    talk.abort()
  }
  t.like(refused, { kind: 'status', code: 'LIMIT_EXCEEDED' })
  await victim.serves(t)
})

test.serial('a job that is begun again while its last attempt hangs takes its place', async (t) => {
  const job = randomBytes(16)
  const first = await openJob(rogue, victim.dataPort, { job, destination: 'again.raw' })
  const second = await openJob(rogue, victim.dataPort, { job, destination: 'again.raw' })
  await first.talk.ended
  t.is(first.id, second.id)
  second.talk.send({ kind: 'cancel', reason: 'enough' })
  await second.talk.ended
})
