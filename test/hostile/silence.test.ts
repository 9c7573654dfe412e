/** Peers that begin to say something and stop: each wait has its end, and meanwhile others are served. */
import { connect, type AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { MessageChannel } from 'node:worker_threads'
import test from 'ava'
import { encodeControl } from '../../protocol/control-codec.ts'
import { frameControl } from '../../protocol/frame-reader.ts'
import { CHUNKS_PROTOCOL, VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import { openPortLane } from '../../transfer/lanes/port.ts'
import type { PortMessage } from '../../transfer/lanes/port-message.ts'
import { dialTls } from '../../transfer/lanes/tls.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { collect } from '../helpers/collect.ts'
import { refusedWith } from '../helpers/refused-with.ts'
import { talkOver, type RoguePeer } from '../helpers/rogue-peer.ts'
import { greet, HELLO, offerOf } from '../helpers/rogue-sender.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'

const hello = frameControl(encodeControl({ kind: 'hello', ...HELLO }))

interface Way {
  readonly title: string
  /** Resolves when the agent has ended it. */
  act(): Promise<unknown>
}

const WAYS: readonly Way[] = [
  { title: 'says nothing on a viaduct', act: async () => talkOver(await rogue.open(VIADUCT_PROTOCOL)).ended },
  {
    title: 'says half a hello',
    act: async () => {
      const talk = talkOver(await rogue.open(VIADUCT_PROTOCOL))
      talk.sendBytes(hello.subarray(0, 10))
      return talk.ended
    },
  },
  { title: 'says hello, and offers nothing', act: async () => (await greet(rogue)).ended },
  {
    title: 'offers, and accepts nothing',
    act: async () => {
      const talk = await greet(rogue)
      talk.send({ kind: 'offer', ...offerOf(rogue) })
      return talk.ended
    },
  },
  {
    title: 'opens a chunk stream, and does not say for what',
    act: async () => {
      const stream = await rogue.open(CHUNKS_PROTOCOL)
      stream.send(Uint8Array.of(1))
      await new Promise<void>((resolve) => stream.addEventListener('close', () => resolve(), { once: true }))
    },
  },
  {
    title: 'connects to the data port with half a ClientHello',
    act: () => {
      const socket = connect({ host: '127.0.0.1', port: victim.dataPort })
      socket.on('error', () => {}).resume()
      socket.write(Buffer.from('16030102', 'hex'))
      return new Promise<void>((resolve) => socket.once('close', () => resolve()))
    },
  },
]

let victim: Victim
let rogue: RoguePeer

test.before(async () => {
  victim = await openVictim()
  rogue = await victim.rogue()
})
test.after.always(() => victim[Symbol.asyncDispose]())

for (const { title, act } of WAYS) {
  test(`a peer that ${title} is given up`, async (t) => {
    const before = await victim.files()
    await act()
    t.deepEqual(await victim.files(), before)
  })
}

test('a lane on which half a frame came is given up after a while', async (t) => {
  const server = createServer({ key: rogue.laneIdentity.keyPem, cert: rogue.laneIdentity.certificatePem })
  server.on('secureConnection', (socket) =>
    socket.on('error', () => {}).write(Buffer.from('0900000058000000', 'hex')),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  await using lane = await dialTls(
    {
      kind: 'tls-dial',
      host: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      serverName: serverName(new Uint8Array(16), 0),
      identity: rogue.laneIdentity,
      peerCertificate: rogue.laneIdentity.certificateDer,
    },
    { stallTimeoutMs: 100 },
  )
  await refusedWith(t, 'LANE_FAILED', collect(lane.frames()))
})

test('a lane over the mesh on which half a frame came is given up after a while', async (t) => {
  const { port1, port2 } = new MessageChannel()
  await using lane = await openPortLane(
    { kind: 'port', port: port2, path: 'libp2p' },
    { stallTimeoutMs: 100 },
  )
  const bytes = Uint8Array.from(Buffer.from('0900000058000000', 'hex'))
  port1.postMessage({ kind: 'bytes', bytes } satisfies PortMessage, [bytes.buffer])
  await refusedWith(t, 'LANE_FAILED', collect(lane.frames()))
})

test('an honest move is not held up by peers that are silent', (t) => victim.serves(t))
