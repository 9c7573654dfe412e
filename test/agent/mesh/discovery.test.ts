import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import test from 'ava'
import { discoveries } from '../../../agent/mesh/discovery.ts'
import { eventually } from '../../helpers/eventually.ts'
import { startMesh, type TestMesh } from '../../helpers/node-pair.ts'

test('discoveries() is one way for each that is asked for', (t) => {
  t.is(discoveries({ mdns: false, bootstrap: [] }).length, 0)
  t.is(discoveries({ mdns: true, bootstrap: ['/ip4/127.0.0.1/tcp/1/p2p/x'] }).length, 2)
})

test('a first contact can be asked by its bare peer ID', async (t) => {
  const alpha = await startMesh(t, 'alpha')
  const beta = await startMesh(t, 'beta', { bootstrap: [alpha.addr] })
  await knows(beta, alpha)
  t.like(await beta.pairing.request({ peer: alpha.identity.peerId }), { direction: 'out' })
  t.like(await alpha.pairing.pending(), [{ peer: beta.identity.peerId }])
})

test('an agent of the local network can be asked by its bare peer ID, and is not dialed before', async (t) => {
  if (!(await multicastWorks())) return t.pass('Skipped: this machine has no multicast')
  const alpha = await startMesh(t, 'alpha', { mdns: true })
  const beta = await startMesh(t, 'beta', { mdns: true })
  await knows(beta, alpha)
  t.is(beta.node.getConnections().length, 0)
  t.like(await beta.pairing.request({ peer: alpha.identity.peerId }), { direction: 'out' })
})

/** Resolves when the address book of `mesh` has addresses of `other`. */
function knows(mesh: TestMesh, other: TestMesh): Promise<unknown> {
  return eventually(async () => {
    const peer = await mesh.node.peerStore.get(other.node.peerId).catch(() => undefined)
    return peer?.addresses.at(0)
  })
}

/** True when a datagram to the mDNS group comes back to this machine. */
async function multicastWorks(): Promise<boolean> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    socket.bind(0)
    await once(socket, 'listening')
    socket.addMembership('224.0.0.251')
    const heard = once(socket, 'message', { signal: AbortSignal.timeout(500) })
    socket.send('?', socket.address().port, '224.0.0.251')
    await heard
    return true
  } catch {
    return false
  } finally {
    socket.close()
  }
}
