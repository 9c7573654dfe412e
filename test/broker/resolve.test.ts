import test from 'ava'
import { resolveChain } from '../../broker/chain.ts'
import { decodeOffer, examineOffer } from '../../protocol/catalog-offer.ts'
import { connectTo, startBroker } from '../helpers/broker-node.ts'
import { migratorOf } from '../helpers/offers.ts'
import { createProvider } from '../helpers/providers.ts'

test('a broker names the hosts of the shortest chain, and the asker resolves it over what they signed', async (t) => {
  const client = await connectTo(t, await startBroker(t))
  const [one, other] = [await createProvider(), await createProvider()]
  const offers = await Promise.all([
    one.publish({ migrators: [migratorOf('ova', 'vmdk'), migratorOf('vmdk', 'qcow2')] }),
    other.publish({ migrators: [migratorOf('vmdk', 'raw')] }),
    other.publish({ migrators: [migratorOf('qcow2', 'raw')] }),
  ])
  await client.publish(offers)
  const { offers: hosts, gap } = await client.resolve({ produces: ['ova'], accepts: ['raw'] })
  t.is(gap, undefined)
  const examined = await Promise.all(hosts.map((signed) => examineOffer(signed, Date.now())))
  const proven = examined.map(({ offer }) => offer!)
  t.deepEqual(
    resolveChain(['ova'], ['raw'], proven).steps?.map(({ from, to, peer }) => [from, to, peer]),
    [
      ['ova', 'vmdk', one.peer],
      ['vmdk', 'raw', other.peer],
    ],
  )
})

test('a broker prefers Migrators of the source and the target', async (t) => {
  const client = await connectTo(t, await startBroker(t))
  const providers = await Promise.all([1, 2, 3].map(() => createProvider()))
  const migrators = [migratorOf('vmdk', 'raw')]
  await client.publish(await Promise.all(providers.map((provider) => provider.publish({ migrators }))))
  for (const { peer } of providers) {
    const { offers } = await client.resolve({ produces: ['vmdk'], accepts: ['raw'], preferred: [peer] })
    t.deepEqual(
      offers.map(({ body }) => decodeOffer(body).peer),
      [peer],
    )
  }
})

test('a broker names a host of two steps once, and says that nothing is to be done, or why nothing can be', async (t) => {
  const client = await connectTo(t, await startBroker(t))
  const provider = await createProvider()
  await client.publish([await provider.publish({ migrators: [migratorOf('a', 'b'), migratorOf('b', 'c')] })])
  t.is((await client.resolve({ produces: ['a'], accepts: ['c'] })).offers.length, 1)
  t.deepEqual(await client.resolve({ produces: ['a'], accepts: ['a'] }), { offers: [], reason: '' })
  t.deepEqual(await client.resolve({ produces: ['d'], accepts: ['a'] }), {
    offers: [],
    gap: 'source',
    reason: 'No Migrator accepts d',
  })
})
