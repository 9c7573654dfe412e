/**
 * An implementation of libp2p that shares no code with ours: smoldot, a light client of a blockchain, in Rust. Told that
 * our agent is its chain's only node, it connects, and asks for the chain's protocols in vain; until then it is a peer
 * like any other.
 */
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Connection } from '@libp2p/interface'
import test, { type ExecutionContext } from 'ava'
import { openAddressBook } from '../../../agent/mesh/address-book.ts'
import { createConnectionPolicy } from '../../../agent/mesh/connection-policy.ts'
import { createNode, type MeshNode } from '../../../agent/mesh/node.ts'
import { createRefusals } from '../../../agent/mesh/refusals.ts'
import { eventually } from '../../helpers/eventually.ts'
import { startForeignPeer } from '../../helpers/foreign-peer.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

/** What smoldot asks for first. Who lacks it is soon left. */
const BLOCK_ANNOUNCES = '/91b171bb158e2d3848fa23a9f1c25182fb8e20313b2c1eb49219da7a70ce90c3/block-announces/1'

/** Our node, as an agent has it, to which those that `isPaired` are paired. */
async function startNode(t: ExecutionContext, { isPaired }: { isPaired: boolean }): Promise<MeshNode> {
  const refusals = createRefusals()
  const connectionPolicy = createConnectionPolicy({
    isPaired: () => isPaired,
    isAwaited: () => false,
    acceptsStrangers: () => true,
    refusals,
  })
  const datastore = await openAddressBook(await tempDir(t))
  t.teardown(() => datastore[Symbol.asyncDispose]())
  const node = await createNode({
    privateKey: await generateKeyPair('Ed25519'),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    datastore,
    connectionPolicy,
    discovery: [],
    directory: false,
    relays: [],
    refusals,
  })
  t.teardown(() => node[Symbol.asyncDispose]())
  return node
}

/** What smoldot logs while it takes our node for a node of its chain. */
function startForeigner(t: ExecutionContext, node: MeshNode): string[] {
  const foreigner = startForeignPeer(node.getMultiaddrs().map(String))
  t.teardown(() => foreigner[Symbol.asyncDispose]())
  return foreigner.logged
}

function nextConnection(node: MeshNode): Promise<Connection> {
  return new Promise((resolve) =>
    node.addEventListener('connection:open', ({ detail }) => resolve(detail), { once: true }),
  )
}

test('a foreign implementation completes Noise, yamux, identify and ping', async (t) => {
  const node = await startNode(t, { isPaired: true })
  // Left unanswered, so that it stays.
  await node.handle(BLOCK_ANNOUNCES, () => {})
  const opened = nextConnection(node)
  const logged = startForeigner(t, node)
  const connection = await opened
  t.is(connection.encryption, '/noise')
  t.is(connection.multiplexer, '/yamux/1.0.0')
  // It resets a stream on which it has said everything, which libp2p may notice before it has read all.
  const version = await eventually(() =>
    node.services.identify.identify(connection).then(
      ({ agentVersion }) => agentVersion,
      () => undefined,
    ),
  )
  t.regex(version, /^smoldot/)
  t.true((await node.services.ping.ping(connection.remotePeer)) >= 0)
  t.truthy(logged.find((line) => line.startsWith('handshake-finished')))
})

test('a foreign stranger gets no further than a stranger may', async (t) => {
  const node = await startNode(t, { isPaired: false })
  const opened = nextConnection(node)
  const logged = startForeigner(t, node)
  await opened
  await eventually(() => logged.find((line) => line.startsWith('gossip-open-error')))
  t.false(logged.some((line) => line.startsWith('pong')))
})
