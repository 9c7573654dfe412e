/** An agent that nobody can dial, and relays that it finds in the directory. */
import test, { type ExecutionContext } from 'ava'
import { eventually } from '../../helpers/eventually.ts'
import { startMesh, type TestMesh, type TestMeshOptions } from '../../helpers/node-pair.ts'

const relayQuota = { bytes: 1_000_000, timeMs: 60_000, reservations: 4 }

interface Stage {
  readonly relay: TestMesh
  readonly lonely: TestMesh
}

/** A relay that strangers may use, and an agent without any listener; both know one agent of the directory. */
async function start(t: ExecutionContext, options: TestMeshOptions = {}): Promise<Stage> {
  const first = await startMesh(t, 'first', { directory: true })
  const bootstrap = [first.addr]
  const relay = await startMesh(t, 'relay', {
    directory: true,
    bootstrap,
    relay: true,
    relayFor: 'all',
    relayQuota,
  })
  const lonely = await startMesh(t, 'lonely', { directory: true, bootstrap, listen: [], ...options })
  // Who looks must be able to hear of it.
  await eventually(async () => {
    for await (const { peer } of lonely.node.services.directory!.announced('relay'))
      if (peer === relay.identity.peerId) return true
    return undefined
  })
  return { relay, lonely }
}

test('an agent that may finds the relay of a stranger, and keeps a place there', async (t) => {
  const { relay, lonely } = await start(t, { relaysFrom: 'directory' })
  const { relayClient } = lonely.node.services
  await eventually(async () => {
    await relayClient.look()
    return relayClient.reservedAt.length > 0 || undefined
  })
  t.deepEqual(relayClient.strangers, [relay.identity.peerId])
  t.true(relayClient.isChosen(relay.identity.peerId))
  t.true(relay.node.services.relay!.holds(lonely.identity.peerId))
  t.regex(lonely.node.getMultiaddrs().join(), /p2p-circuit/)
})

test('an agent that was not told to uses no relay of strangers', async (t) => {
  const { relay, lonely } = await start(t)
  const { relayClient } = lonely.node.services
  await relayClient.look()
  t.deepEqual(relayClient.reservedAt, [])
  t.false(relayClient.isChosen(relay.identity.peerId))
})

test('a relay that is named by its peer ID alone is found in the directory', async (t) => {
  const { relay } = await start(t)
  const named = await startMesh(t, 'named', {
    directory: true,
    bootstrap: [relay.addr],
    listen: [],
    relays: [`/p2p/${relay.identity.peerId}`],
  })
  const { relayClient } = named.node.services
  await eventually(async () => {
    await relayClient.look()
    return relayClient.reservedAt.length > 0 || undefined
  })
  t.deepEqual(relayClient.reservedAt, [relay.identity.peerId])
  t.deepEqual(relayClient.strangers, [])
})
