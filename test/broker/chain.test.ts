import test from 'ava'
import fc from 'fast-check'
import { type Chain, resolveChain } from '../../broker/chain.ts'
import type { MigratorSpec, Offer } from '../../protocol/catalog-message.ts'
import { MAX_CHAIN_STEPS } from '../../protocol/limits.ts'
import { migratorOf, offerId, offerWith } from '../helpers/offers.ts'

function hosting(number: number, ...migrators: MigratorSpec[]): Offer {
  return offerWith({ id: offerId(number), peer: `peer${number}`, migrators })
}

/** Each step as `from>to@offer`. */
function pathOf({ steps }: Chain): string[] | undefined {
  return steps?.map(({ from, to, peer }) => `${from}>${to}@${peer}`)
}

test('resolveChain() needs no step when the source fits', (t) => {
  t.deepEqual(resolveChain(['vmdk', 'raw'], ['raw'], []), { steps: [] })
})

test('resolveChain() names the Migrator, its version and its host', (t) => {
  t.deepEqual(resolveChain(['vmdk'], ['raw'], [hosting(1, migratorOf('vmdk', 'raw'))]), {
    steps: [
      { from: 'vmdk', to: 'raw', peer: 'peer1', offer: offerId(1), migrator: 'convert', version: '1.0.0' },
    ],
  })
})

test('resolveChain() takes the shortest way', (t) => {
  const offers = [
    hosting(1, migratorOf('ova', 'vmdk'), migratorOf('vmdk', 'qcow2'), migratorOf('qcow2', 'raw')),
    hosting(2, migratorOf('vmdk', 'raw')),
  ]
  t.deepEqual(pathOf(resolveChain(['ova'], ['raw'], offers)), ['ova>vmdk@peer1', 'vmdk>raw@peer2'])
})

test('resolveChain() begins with any of what the source produces and ends with any of what the target accepts', (t) => {
  const offers = [hosting(1, migratorOf('vdi', 'x'), migratorOf('vmdk', 'raw qcow2'))]
  t.deepEqual(pathOf(resolveChain(['vdi', 'vmdk'], ['vhd', 'qcow2'], offers)), ['vmdk>qcow2@peer1'])
})

test('resolveChain() prefers the source and the target to third parties', (t) => {
  const offers = [hosting(1, migratorOf('vmdk', 'raw')), hosting(2, migratorOf('vmdk', 'raw'))]
  t.deepEqual(pathOf(resolveChain(['vmdk'], ['raw'], offers)), ['vmdk>raw@peer1'])
  t.deepEqual(pathOf(resolveChain(['vmdk'], ['raw'], offers, new Set(['peer2']))), ['vmdk>raw@peer2'])
})

test('resolveChain() prefers fewer steps to nearer ones', (t) => {
  const offers = [
    hosting(1, migratorOf('vmdk', 'qcow2'), migratorOf('qcow2', 'raw')),
    hosting(2, migratorOf('vmdk', 'raw')),
  ]
  t.deepEqual(pathOf(resolveChain(['vmdk'], ['raw'], offers, new Set(['peer1']))), ['vmdk>raw@peer2'])
})

test('resolveChain() is not caught in a circle', (t) => {
  const offers = [hosting(1, migratorOf('a', 'b'), migratorOf('b', 'a'))]
  t.is(resolveChain(['a'], ['c'], offers).steps, undefined)
})

test('resolveChain() passes over tombstones', (t) => {
  const offers = [{ ...hosting(1, migratorOf('vmdk', 'raw')), withdrawn: true }]
  t.like(resolveChain(['vmdk'], ['raw'], offers), { gap: 'source' })
})

test('resolveChain() says that nothing accepts what the source produces', (t) => {
  t.deepEqual(resolveChain(['vdi', 'ova'], ['raw'], [hosting(1, migratorOf('vmdk', 'raw'))]), {
    gap: 'source',
    reason: 'No Migrator accepts ova or vdi',
  })
})

test('resolveChain() says that nothing produces what the target accepts', (t) => {
  t.deepEqual(resolveChain(['vmdk'], ['vhd'], [hosting(1, migratorOf('vmdk', 'raw'))]), {
    gap: 'target',
    reason: 'No Migrator produces vhd',
  })
})

test('resolveChain() says between what no Migrator is', (t) => {
  const offers = [hosting(1, migratorOf('vmdk', 'raw')), hosting(2, migratorOf('qcow2', 'vhd'))]
  t.like(resolveChain(['vmdk'], ['vhd'], offers), {
    gap: 'between',
    reason: 'Out of vmdk only raw can be made, and vhd only out of qcow2',
  })
})

test('resolveChain() takes no more than MAX_CHAIN_STEPS, and says so', (t) => {
  const way = (length: number) =>
    Array.from({ length }, (_, i) => hosting(i, migratorOf(`kind${i}`, `kind${i + 1}`)))
  const last = `kind${MAX_CHAIN_STEPS}`
  t.is(resolveChain(['kind0'], [last], way(MAX_CHAIN_STEPS)).steps?.length, MAX_CHAIN_STEPS)
  t.deepEqual(resolveChain(['kind0'], [`kind${MAX_CHAIN_STEPS + 1}`], way(MAX_CHAIN_STEPS + 1)), {
    gap: 'between',
    reason: 'No chain of at most 8 Migrators leads from kind0 to kind9',
  })
})

test('resolveChain() lists no more kinds than a person reads', (t) => {
  const many = Array.from({ length: 20 }, (_, i) => `k${i + 10}`).join(' ')
  t.like(resolveChain(['a'], ['z'], [hosting(1, migratorOf('a', many), migratorOf('y', 'z'))]), {
    reason:
      'Out of a only k10, k11, k12, k13, k14, k15, k16, k17 or 12 others can be made, and z only out of y',
  })
})

test('resolveChain() says that a source that produces nothing has no way', (t) => {
  t.like(resolveChain([], ['raw'], []), { gap: 'source', reason: 'No Migrator accepts nothing' })
})

const kinds = ['a', 'b', 'c', 'd', 'e', 'f']
const kind = fc.constantFrom(...kinds)
const offers = fc
  .array(fc.array(fc.tuple(kind, kind), { maxLength: 4 }), { maxLength: 6 })
  .map((hosts) => hosts.map((pairs, i) => hosting(i, ...pairs.map(([from, to]) => migratorOf(from, to)))))
const ends = fc.tuple(fc.subarray(kinds, { minLength: 1 }), fc.subarray(kinds, { minLength: 1 }))

test('resolveChain() finds a chain exactly when there is one, and none is shorter', (t) => {
  fc.assert(
    fc.property(offers, ends, (list, [produces, accepts]) => {
      const { steps } = resolveChain(produces, accepts, list)
      t.is(steps?.length, leastSteps(produces, accepts, list))
      let at: string | undefined
      for (const { from, to, offer } of steps ?? []) {
        t.true(at === undefined ? produces.includes(from) : at === from)
        const migrators = list.find(({ id }) => id === offer)!.migrators
        t.true(
          migrators.some(({ accepts: takes, produces: makes }) => takes.includes(from) && makes.includes(to)),
        )
        at = to
      }
      if (at !== undefined) t.true(accepts.includes(at))
    }),
    { numRuns: 500 },
  )
})

test('resolveChain() gives the same answer in whatever order the offers come', (t) => {
  const shuffled = offers.chain((list) =>
    fc.tuple(
      fc.constant(list),
      fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length }),
    ),
  )
  fc.assert(
    fc.property(
      shuffled,
      ends,
      fc.subarray(['peer0', 'peer1']),
      ([list, other], [produces, accepts], near) => {
        const preferred = new Set(near)
        t.deepEqual(
          resolveChain(produces, accepts, other, preferred),
          resolveChain(produces, accepts, list, preferred),
        )
      },
    ),
    { numRuns: 300 },
  )
})

/** By growing the set of what can be made, step by step. */
function leastSteps(produces: string[], accepts: string[], list: Offer[]): number | undefined {
  let made = new Set(produces)
  for (let steps = 0; steps <= kinds.length; steps++) {
    if (accepts.some((each) => made.has(each))) return steps
    const more = list
      .flatMap(({ migrators }) => migrators)
      .filter(({ accepts: takes }) => takes.some((each) => made.has(each)))
    made = new Set([...made, ...more.flatMap(({ produces: makes }) => makes)])
  }
  return undefined
}
