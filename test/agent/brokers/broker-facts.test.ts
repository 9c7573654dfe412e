import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import test from 'ava'
import { factsOfJobs, measureRoundTrips } from '../../../agent/brokers/broker-facts.ts'
import type { JobReport } from '../../../agent/reports/job-reports.ts'
import { fakeComplete } from '../../helpers/fake-agent.ts'
import { createProvider } from '../../helpers/providers.ts'

const MiB = 2 ** 20
const job = (changes: Partial<JobReport>): JobReport => ({
  ...fakeComplete,
  peer: 'a',
  sentBytes: 100 * MiB,
  seconds: 10,
  ...changes,
})

test('factsOfJobs() counts what was sent and how it ended, and takes the best rate', (t) => {
  const facts = factsOfJobs([
    job({}),
    job({ seconds: 5 }),
    job({ state: 'failed', seconds: 1 }),
    job({ state: 'running', seconds: 1 }),
    job({ direction: 'in', seconds: 1 }),
    job({ peer: 'b', state: 'failed' }),
    job({ peer: 'c', sentBytes: MiB }),
  ])
  t.deepEqual(
    [...facts],
    [
      ['a', { bytesPerSecond: 20 * MiB, outcomes: { complete: 2, failed: 1 } }],
      ['b', { outcomes: { complete: 0, failed: 1 } }],
      ['c', { outcomes: { complete: 1, failed: 0 } }],
    ],
  )
})

test('measureRoundTrips() takes the quickest address that answers, and leaves out who has none', async (t) => {
  const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const [here, away, relayed] = await Promise.all([createProvider(), createProvider(), createProvider()])
  const offers = [
    here.offer({ addresses: ['/ip4/127.0.0.1/tcp/1', `/ip4/127.0.0.1/tcp/${port}/p2p/${here.peer}`] }),
    away.offer({ addresses: ['/ip4/127.0.0.1/tcp/1', 'nonsense'] }),
    relayed.offer({
      addresses: [`/ip4/127.0.0.1/tcp/${port}/p2p/${here.peer}/p2p-circuit/p2p/${relayed.peer}`],
    }),
  ]
  const outcomes = { complete: 1, failed: 0 }
  const facts = await measureRoundTrips(offers, new Map([[here.peer, { outcomes }]]))
  t.deepEqual([...facts.keys()], [here.peer])
  t.true(facts.get(here.peer)!.rttMs! > 0)
  t.deepEqual(facts.get(here.peer)!.outcomes, outcomes)
})
