/** The directory among strangers: what one of them may ask, flood and lie about. */
import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import type { Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import test, { type ExecutionContext } from 'ava'
import { createLibp2p } from 'libp2p'
import protobuf from 'protobufjs'
import { dialPeer } from '../../agent/mesh/dial-peer.ts'
import { createFrameReader } from '../../protocol/frame-reader.ts'
import {
  CHUNKS_PROTOCOL,
  DIRECTORY_PROTOCOL,
  PAIRING_PROTOCOL,
  VIADUCT_PROTOCOL,
} from '../../protocol/ids.ts'
import { DIRECTORY_QUESTION_BYTES, DIRECTORY_STREAM_BURST } from '../../protocol/limits.ts'
import { eventually } from '../helpers/eventually.ts'
import { startMesh, type TestMesh } from '../helpers/node-pair.ts'
import { startRogue, type RoguePeer } from '../helpers/rogue-peer.ts'

const PUT_VALUE = 0
const FIND_NODE = 4

interface Told {
  readonly peer: string
  readonly addrs: readonly string[]
}

/** A message of Kademlia, with its length before it. */
function message(
  type: number,
  { key, closer = [] }: { key?: Uint8Array; closer?: readonly Told[] },
): Uint8Array {
  const writer = protobuf.Writer.create().uint32(8).uint32(type)
  if (key) writer.uint32(18).bytes(key)
  for (const { peer, addrs } of closer) {
    writer.uint32(66).fork()
    writer.uint32(10).bytes(peerIdFromString(peer).toMultihash().bytes)
    for (const addr of addrs) writer.uint32(18).bytes(multiaddr(addr).bytes)
    writer.ldelim()
  }
  const body = writer.finish()
  return protobuf.Writer.create().bytes(body).finish()
}

/** Everything the other side says on `stream`, as text in which addresses and IDs can be looked for. */
async function hear(stream: Stream): Promise<Buffer> {
  const heard: Uint8Array[] = []
  try {
    for await (const bytes of stream) heard.push(bytes.subarray())
  } catch {
    // Reset: what came before counts.
  }
  return Buffer.concat(heard)
}

async function asked(stranger: RoguePeer, protocol: string, question?: Uint8Array): Promise<Buffer> {
  const stream = await stranger.open(protocol).catch(() => undefined)
  if (!stream) return Buffer.alloc(0)
  const heard = hear(stream)
  try {
    if (question) stream.send(question)
    await stream.close()
  } catch {
    // Reset already.
  }
  return heard
}

const keyOf = (peer: string) => peerIdFromString(peer).toMultihash().bytes
const addrOf = (mesh: TestMesh) => multiaddr(mesh.addr).decapsulate('/p2p').bytes
const tells = (answer: Buffer, bytes: Uint8Array) => answer.includes(Buffer.from(bytes))
const findNode = (peer: string) => message(FIND_NODE, { key: keyOf(peer) })

async function strangerOf(t: ExecutionContext, mesh: TestMesh): Promise<RoguePeer> {
  const stranger = await startRogue(mesh.addr)
  t.teardown(() => stranger[Symbol.asyncDispose]())
  return stranger
}

test('a stranger hears the directory and identify, and nothing else', async (t) => {
  const mesh = await startMesh(t, 'open', { directory: true, pairingRequests: false })
  const stranger = await strangerOf(t, mesh)
  for (const protocol of [VIADUCT_PROTOCOL, CHUNKS_PROTOCOL, PAIRING_PROTOCOL, '/ipfs/ping/1.0.0'])
    t.is((await asked(stranger, protocol, Buffer.alloc(32))).byteLength, 0, protocol)
  t.true((await asked(stranger, '/ipfs/id/1.0.0')).byteLength > 0)
  const answer = await asked(stranger, DIRECTORY_PROTOCOL, findNode(mesh.identity.peerId))
  t.true(tells(answer, addrOf(mesh)))
})

test('an agent that does not serve the directory says nothing of it to a stranger', async (t) => {
  const mesh = await startMesh(t, 'closed')
  const stranger = await strangerOf(t, mesh)
  t.is((await asked(stranger, DIRECTORY_PROTOCOL, findNode(mesh.identity.peerId))).byteLength, 0)
  t.is((await asked(stranger, '/ipfs/id/1.0.0')).byteLength, 0)
})

test('a stranger does not learn where paired peers are that are not in the directory', async (t) => {
  const [mesh, secret] = await Promise.all([
    startMesh(t, 'open', { directory: true }),
    startMesh(t, 'secret'),
  ])
  const { ticket } = await mesh.pairing.issueTicket({ expiresMs: 60_000, uses: 1, approve: 'auto' })
  await secret.pairing.redeem({ ticket })
  await eventually(async () => {
    const entry = await mesh.node.peerStore.get(secret.node.peerId).catch(() => undefined)
    return entry?.addresses.at(0)
  })
  const stranger = await strangerOf(t, mesh)
  const answer = await asked(stranger, DIRECTORY_PROTOCOL, findNode(secret.identity.peerId))
  t.true(answer.byteLength > 0)
  t.false(tells(answer, addrOf(secret)))
  t.false(tells(answer, keyOf(secret.identity.peerId)))
})

test('a stranger that asks too much at once, or too often, is cut off and counted', async (t) => {
  const mesh = await startMesh(t, 'open', { directory: true })
  const stranger = await strangerOf(t, mesh)
  const long = await stranger.open(DIRECTORY_PROTOCOL)
  const heard = hear(long)
  long.send(Buffer.alloc(2 * DIRECTORY_QUESTION_BYTES, 255))
  t.is((await heard).byteLength, 0)
  for (let i = 0; i < 4 * DIRECTORY_STREAM_BURST && !mesh.refusals.snapshot()['directory-rate']; i++) {
    const stream = await stranger.open(DIRECTORY_PROTOCOL).catch(() => undefined)
    stream?.abort(new Error('enough'))
  }
  t.true(mesh.refusals.snapshot()['directory-rate'] > 0)
})

test('a stranger stores nothing', async (t) => {
  const mesh = await startMesh(t, 'open', { directory: true })
  const stranger = await strangerOf(t, mesh)
  const { publicKey } = await generateKeyPair('Ed25519')
  const key = Buffer.concat([Buffer.from('/pk/'), publicKey.toMultihash().bytes])
  const record = protobuf.Writer.create()
    .uint32(10)
    .bytes(key)
    .uint32(18)
    .bytes(Buffer.from([8, 1, 18, 32, ...publicKey.raw]))
  const body = protobuf.Writer.create().uint32(8).uint32(PUT_VALUE).uint32(18).bytes(key)
  body.uint32(26).bytes(record.finish())
  const question = protobuf.Writer.create().bytes(body.finish()).finish()
  t.is((await asked(stranger, DIRECTORY_PROTOCOL, question)).byteLength, 0)
})

test('lies about a paired peer cost dials, and leave what is known of it as it is', async (t) => {
  const [mesh, friend] = await Promise.all([
    startMesh(t, 'open', { directory: true }),
    startMesh(t, 'friend', { directory: true }),
  ])
  const { ticket } = await mesh.pairing.issueTicket({ expiresMs: 60_000, uses: 1, approve: 'auto' })
  await friend.pairing.redeem({ ticket })
  await friend[Symbol.asyncDispose]()
  await using liar = await createLibp2pOfDirectory()
  const lie = liar.getMultiaddrs().map((addr) => addr.decapsulate('/p2p').toString())
  let lies = 0
  await liar.handle(DIRECTORY_PROTOCOL, async (stream) => {
    const reader = createFrameReader(DIRECTORY_QUESTION_BYTES)
    stream.addEventListener('message', ({ data }) => {
      for (const frame of reader.push(data.subarray())) {
        // A ping is answered by itself; everything else by a lie.
        if (frame.at(1) === 5) stream.send(Buffer.concat([Buffer.from([frame.byteLength]), frame]))
        else {
          lies++
          stream.send(message(FIND_NODE, { closer: [{ peer: friend.identity.peerId, addrs: lie }] }))
        }
      }
    })
  })
  await liar.dial(multiaddr(mesh.addr))
  await eventually(() => mesh.node.services.directory!.retains(liar.peerId.toString()) || undefined)
  const before = await mesh.node.peerStore.get(friend.node.peerId)
  await t.throwsAsync(() => dialPeer(mesh, friend.identity.peerId), { code: 'PEER_UNREACHABLE' })
  t.true(lies > 0)
  const { addresses } = await mesh.node.peerStore.get(friend.node.peerId)
  t.deepEqual(addresses.map(String), before.addresses.map(String))
  t.false(addresses.some((address) => lie.includes(address.multiaddr.toString())))
})

test('one that is asked first and says nothing keeps nobody from being found', async (t) => {
  const mesh = await startMesh(t, 'open', { directory: true })
  await using silent = await createLibp2pOfDirectory()
  let questions = 0
  await silent.handle(DIRECTORY_PROTOCOL, async (stream) => {
    stream.addEventListener('message', () => void questions++)
  })
  await silent.dial(multiaddr(mesh.addr))
  await eventually(async () => {
    const entry = await mesh.node.peerStore.get(silent.peerId).catch(() => undefined)
    return entry?.protocols.includes(DIRECTORY_PROTOCOL) || undefined
  })
  const contact = await startMesh(t, 'contact', { directory: true })
  const found = await startMesh(t, 'found', { directory: true, bootstrap: [contact.addr] })
  await mesh.node.dial(multiaddr(contact.addr))
  const addrs = await eventually(async () => {
    for await (const some of mesh.node.services.directory!.find(found.identity.peerId)) return some
    return undefined
  })
  t.is(`${addrs[0].toString()}/p2p/${found.identity.peerId}`, found.addr)
  t.true(questions > 0)
})

/** A node that identifies itself, as an agent of the directory would. */
async function createLibp2pOfDirectory() {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() },
  })
  return Object.assign(node, { [Symbol.asyncDispose]: async () => node.stop() })
}
