/** The mesh over WebRTC and IPv6. In a process of its own: the library's first socket there answers for all. */
import { networkInterfaces } from 'node:os'
import { multiaddr } from '@multiformats/multiaddr'
import ava from 'ava'
import { bestConnection } from '../../../agent/mesh/dial-peer.ts'
import { isWebRtc } from '../../../agent/mesh/webrtc.ts'
import { freePort } from '../../helpers/free-port.ts'
import { nodePair, startMesh } from '../../helpers/node-pair.ts'

const once = { expiresMs: 60_000, uses: 1, approve: 'auto' } as const
const hasIp6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'))
const test = hasIp6 ? ava.serial : ava.serial.skip

test('an agent that listens everywhere is reached by UDP over IPv4 and IPv6 (skipped without ::1)', async (t) => {
  const port = await freePort()
  const listen = [`/ip4/0.0.0.0/tcp/${port}`, `/ip6/::/tcp/${port}`]
  const alpha = await startMesh(t, 'alpha', { webrtc: true, listen })
  const told = alpha.node.getMultiaddrs().map(String)
  for (const host of ['/ip4/127.0.0.1', '/ip6/::1']) {
    const beta = await startMesh(t, 'beta', { webrtc: true, listen: [] })
    using _ = beta.connectionPolicy.expect(alpha.identity.peerId)
    const addr = told.find((each) => each.startsWith(`${host}/udp/${port}/webrtc-direct/`))!
    t.true(isWebRtc(await beta.node.dial(multiaddr(addr))), host)
  }
})

test('two that only UDP over IPv6 connects are paired (skipped without ::1)', async (t) => {
  const [issuer, redeemer] = await nodePair(t, { webrtc: true, listen: ['/ip6/::1/udp/0/webrtc-direct'] })
  const { ticket } = await issuer.pairing.issueTicket(once)
  await redeemer.pairing.redeem({ ticket })
  const connection = bestConnection(redeemer.node, issuer.identity.peerId)!
  t.true(isWebRtc(connection))
  t.regex(connection.remoteAddr.toString(), /^\/ip6\/::1\/udp\//)
})
