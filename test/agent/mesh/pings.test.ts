import test from 'ava'
import { MAX_PINGS } from '../../../protocol/limits.ts'
import { pairedNodes } from '../../helpers/node-pair.ts'

test('pings of a paired peer go side by side, as many as an agent has use for', async (t) => {
  const [here, there] = await pairedNodes(t)
  const pings = Array.from({ length: MAX_PINGS }, () =>
    here.node.services.ping.ping(there.node.peerId, { signal: AbortSignal.timeout(10_000) }),
  )
  for (const roundTripMs of await Promise.all(pings)) t.true(roundTripMs >= 0)
})
