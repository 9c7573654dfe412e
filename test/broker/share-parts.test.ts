import test from 'ava'
import { createPartSharing } from '../../broker/share-parts.ts'
import { createProvider } from '../helpers/providers.ts'

test('createPartSharing() gives equal offers whose equal parts are one', async (t) => {
  const provider = await createProvider()
  const share = createPartSharing()
  const [first, second] = [provider.offer(), provider.offer()]
  const [one, other] = [share(first), share(structuredClone(second))]
  t.deepEqual([one, other], [first, second])
  t.is(one.migrators, other.migrators)
  t.is(one.cloud, other.cloud)
  t.is(one.place, other.place)
  const elsewhere = share({ ...first, place: { ...first.place, region: 'elsewhere' } })
  t.not(elsewhere.place, one.place)
  t.is(elsewhere.cloud, one.cloud)
})

test('createPartSharing() forgets what it knows when it becomes too much', async (t) => {
  const provider = await createProvider()
  const offer = provider.offer()
  const share = createPartSharing(1)
  const [one, other] = [share(offer), share(structuredClone(offer))]
  t.deepEqual(one, other)
  t.not(one.cloud, other.cloud)
})
