/** Whoever connects to the data port, or opens a chunk stream, without being the peer that was told to. */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import test from 'ava'
import { announceLane } from '../../agent/viaduct/libp2p-lane.ts'
import { CHUNKS_PROTOCOL } from '../../protocol/ids.ts'
import { MAX_WAITING_SOCKETS_PER_ADDRESS } from '../../protocol/limits.ts'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { eventually } from '../helpers/eventually.ts'
import { openRogueLane, type RogueLaneOptions } from '../helpers/rogue-lane.ts'
import type { RoguePeer } from '../helpers/rogue-peer.ts'
import { openJob, type RogueJob } from '../helpers/rogue-sender.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'

interface Way {
  readonly title: string
  /** Resolves when the agent has dropped what was opened. */
  act(job: RogueJob): Promise<unknown>
  readonly counted: string
}

const dropped = async (options: Omit<RogueLaneOptions, 'port'>) => {
  const lane = await openRogueLane({ port: victim.dataPort, ...options })
  lane.have(1, 0, 1024 * 1024, new Uint8Array())
  await lane.closed
}

const WAYS: readonly Way[] = [
  {
    title: 'a token nobody expects',
    counted: 'socket-unknown-name',
    act: () => dropped({ serverName: serverName(randomBytes(16), 0), identity: rogue.laneIdentity }),
  },
  {
    title: 'a server name that is none of ours',
    counted: 'socket-unknown-name',
    act: () => dropped({ serverName: 'www.example.org', identity: rogue.laneIdentity }),
  },
  {
    title: 'another certificate than the one agreed on',
    counted: 'lane-unproven',
    act: async ({ endpoint }) =>
      dropped({ serverName: serverName(endpoint.token, 0), identity: await createLaneIdentity('rogue') }),
  },
  {
    title: 'no certificate',
    counted: 'lane-unproven',
    act: ({ endpoint }) => dropped({ serverName: serverName(endpoint.token, 0) }),
  },
  {
    title: 'the token of an earlier attempt',
    counted: 'socket-unknown-name',
    act: async () => {
      const { id, talk, endpoint, agreement } = await openJob(rogue, victim.dataPort)
      const { destination } = agreement
      await openJob(rogue, victim.dataPort, { job: Buffer.from(id, 'hex'), destination })
      await talk.ended
      return dropped({ serverName: serverName(endpoint.token, 0), identity: rogue.laneIdentity })
    },
  },
  {
    title: 'more lanes than were agreed on',
    counted: 'socket-not-taken',
    act: async (job) => {
      const [, , third] = [await job.lane(0), await job.lane(1), await job.lane(2)]
      await third.closed
    },
  },
  {
    title: 'something that is not TLS',
    counted: 'socket-not-tls',
    act: () => closedAfter(Buffer.from('GET / HTTP/1.1\r\n\r\n')),
  },
  {
    title: 'a ClientHello that never ends',
    counted: 'socket-crowded',
    act: async () => {
      const sockets = Array.from({ length: MAX_WAITING_SOCKETS_PER_ADDRESS + 1 }, () =>
        closedAfter(Buffer.from('1603010200', 'hex')),
      )
      await Promise.race(sockets)
    },
  },
  {
    title: 'a chunk stream with a token nobody expects',
    counted: 'lane-unknown',
    act: () => streamEnds(rogue, randomBytes(16)),
  },
  {
    title: 'a chunk stream of another peer with the right token',
    counted: 'lane-unknown',
    act: async ({ endpoint }) => streamEnds(other, endpoint.token),
  },
  {
    title: 'a chunk stream that begins with garbage',
    counted: 'lane-unknown',
    act: async () => {
      const stream = await rogue.open(CHUNKS_PROTOCOL)
      const closed = new Promise<void>((resolve) =>
        stream.addEventListener('close', () => resolve(), { once: true }),
      )
      stream.send(randomBytes(1000))
      await closed
    },
  },
]

function closedAfter(bytes: Uint8Array): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port: victim.dataPort })
  sockets.add(socket.on('error', () => {}))
  socket.write(bytes)
  socket.resume()
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

async function streamEnds(peer: RoguePeer, token: Uint8Array): Promise<void> {
  const stream = await peer.open(CHUNKS_PROTOCOL)
  const closed = new Promise<void>((resolve) =>
    stream.addEventListener('close', () => resolve(), { once: true }),
  )
  announceLane(stream, token, 0)
  await closed
}

const sockets = new Set<{ destroy(): void }>()
let victim: Victim
let rogue: RoguePeer
let other: RoguePeer

test.before(async () => {
  victim = await openVictim()
  rogue = await victim.rogue()
  other = await victim.rogue()
})
test.after.always(() => victim[Symbol.asyncDispose]())

for (const { title, act, counted } of WAYS) {
  test.serial(`a lane by ${title} is dropped unread and counted`, async (t) => {
    const before = { files: await victim.files(), count: (await victim.refused())[counted] ?? 0 }
    const job = await openJob(rogue, victim.dataPort)
    await act(job)
    await eventually(async () => (((await victim.refused())[counted] ?? 0) > before.count ? true : undefined))
    for (const socket of sockets) socket.destroy()
    t.is((await victim.job(job.id))?.doneBytes, 0)
    t.false(job.talk.heard.some(({ kind }) => kind === 'checkpoint'))
    t.deepEqual(await victim.files(), before.files)
    job.talk.send({ kind: 'cancel', reason: 'done' })
    await victim.serves(t)
    await job.talk.ended
  })
}
