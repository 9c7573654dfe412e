import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import test, { type ExecutionContext } from 'ava'
import { dialPeer } from '../../../agent/mesh/dial-peer.ts'
import { eventually } from '../../helpers/eventually.ts'
import { startMesh, type TestMesh } from '../../helpers/node-pair.ts'

/** `count` agents that know nothing but the address of the first. */
async function startMany(t: ExecutionContext, count: number): Promise<TestMesh[]> {
  const first = await startMesh(t, 'agent-0', { directory: true })
  const others = Array.from({ length: count - 1 }, (_, i) =>
    startMesh(t, `agent-${i + 1}`, { directory: true, bootstrap: [first.addr] }),
  )
  return [first, ...(await Promise.all(others))]
}

/** Addresses of `other` that the directory tells `mesh`; waits until there are some. */
function whereIs(mesh: TestMesh, other: TestMesh): Promise<string[]> {
  return eventually(async () => {
    for await (const addrs of mesh.node.services.directory!.find(other.identity.peerId))
      return addrs.map(String)
    return undefined
  })
}

test('Directory finds every agent by its peer ID from every other', async (t) => {
  const agents = await startMany(t, 6)
  for (const agent of agents) {
    for (const other of agents) {
      if (agent === other) continue
      const [addr] = await whereIs(agent, other)
      t.is(`${addr}/p2p/${other.identity.peerId}`, other.addr)
    }
  }
})

test('Directory finds nothing of a peer that is nowhere, and says so in time', async (t) => {
  const [first, second] = await startMany(t, 2)
  await whereIs(second, first)
  const nobody = peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()
  for await (const addrs of second.node.services.directory!.find(nobody)) t.fail(addrs.join())
  t.pass()
})

test('an agent of the directory is asked to be paired by its bare peer ID', async (t) => {
  const [, second, third] = await startMany(t, 3)
  await whereIs(second, third)
  t.like(await second.pairing.request({ peer: third.identity.peerId }), { direction: 'out' })
  t.like(await third.pairing.pending(), [{ peer: second.identity.peerId }])
})

test('dialPeer() finds a paired peer that came back at another address', async (t) => {
  const [first, second, third] = await startMany(t, 3)
  const { ticket } = await third.pairing.issueTicket({ expiresMs: 60_000, uses: 1, approve: 'auto' })
  await second.pairing.redeem({ ticket })
  const moved = await third.restart()
  t.not(moved.addr, third.addr)
  await eventually(async () => (await whereIs(first, moved))[0]?.includes(portOf(moved.addr)) || undefined)
  const connection = await eventually(() => dialPeer(second, moved.identity.peerId).catch(() => undefined))
  t.is(connection.remotePeer.toString(), moved.identity.peerId)
})

test('Directory tells who announced itself', async (t) => {
  const [first, second, third] = await startMany(t, 3)
  await whereIs(second, third)
  await eventually(() =>
    third.node.services.directory!.announce('broker').then(
      () => true,
      () => false,
    ),
  )
  for (const agent of [first, second]) {
    const found = await eventually(async () => {
      for await (const each of agent.node.services.directory!.announced('broker')) return each
      return undefined
    })
    t.is(found.peer, third.identity.peerId)
    t.is(`${found.addrs[0].toString()}/p2p/${found.peer}`, third.addr)
  }
})

function portOf(addr: string): string {
  return /\/tcp\/\d+/.exec(addr)![0]
}
