/** Peers that connect to the mesh and say nothing, as many as have a place, keep nobody else out. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import test from 'ava'
import { MAX_UPGRADING_CONNECTIONS } from '../../protocol/limits.ts'
import { nodePair } from '../helpers/node-pair.ts'

test('a host that holds all handshakes open gives one to another that comes', async (t) => {
  const [issuer, redeemer] = await nodePair(t)
  const port = Number(/\/tcp\/(\d+)/.exec(issuer.addr)?.[1])
  const sockets: Socket[] = []
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  const silent = () => {
    // All of 127.0.0.0/8 is this machine: another host than the one that is honest.
    const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2' })
    sockets.push(socket)
    socket.on('error', () => {}).resume()
    return socket
  }
  for (let n = 0; n < MAX_UPGRADING_CONNECTIONS; n++) await once(silent(), 'connect')
  // The next of that host is refused, so those before it are all held.
  await new Promise((resolve) => silent().once('close', resolve))
  t.is(sockets.filter(({ destroyed }) => !destroyed).length, MAX_UPGRADING_CONNECTIONS)
  const { ticket } = await issuer.pairing.issueTicket({ expiresMs: 60_000, uses: 1, approve: 'auto' })
  await redeemer.pairing.redeem({ ticket })
  t.true(issuer.connectionPolicy.isPaired(redeemer.identity.peerId))
})
