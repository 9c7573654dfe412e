import test from 'ava'
import { leastRoundTripMs } from '../../../agent/mesh/tcp-socket.ts'
import { nodePair } from '../../helpers/node-pair.ts'

test('leastRoundTripMs() is what the kernel saw of a connection, at either end', async (t) => {
  const [alpha, beta] = await nodePair(t)
  const { ticket } = await alpha.pairing.issueTicket({ expiresMs: 60_000, uses: 1, approve: 'auto' })
  await beta.pairing.redeem({ ticket })
  for (const { node } of [alpha, beta]) {
    const [connection] = node.getConnections()
    const ms = leastRoundTripMs(connection)!
    t.true(ms > 0 && ms < 1000, `${ms} ms`)
  }
})

test('leastRoundTripMs() knows nothing of a connection that has no TCP socket of its own', (t) => {
  t.is(leastRoundTripMs({ timeline: { open: 0 } }), undefined)
})
