import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { freePeerName, isPeerName } from '../../../agent/mesh/peer-name.ts'
import { createPeers, type Peers } from '../../../agent/mesh/peers.ts'
import { openStateStore } from '../../../agent/state-store.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const A = `12D3KooWAAAA${'a'.repeat(40)}`
const B = `12D3KooWAAAB${'b'.repeat(40)}`

async function twoPeers(t: ExecutionContext): Promise<Peers> {
  const store = await openStateStore(join(await tempDir(t), 'state'))
  t.teardown(() => store[Symbol.asyncDispose]())
  const peers = createPeers(store)
  await peers.put({ peer: A, name: 'alpine', pairedAt: 1, addrs: [] })
  await peers.put({ peer: B, name: 'AAAA', pairedAt: 2, addrs: [] })
  return peers
}

test('resolve() takes IDs, names and beginnings of IDs, a name before a beginning', async (t) => {
  const peers = await twoPeers(t)
  t.is((await peers.resolve(A)).name, 'alpine')
  t.is((await peers.resolve('alpine')).peer, A)
  t.is((await peers.resolve('12D3KooWAAAA')).peer, A)
  t.is((await peers.resolve('AAAAa')).peer, A)
  t.is((await peers.resolve('AAAA')).peer, B)
})

test('resolve() refuses what fits none or several', async (t) => {
  const peers = await twoPeers(t)
  const code = async (text: string) =>
    (await t.throwsAsync(peers.resolve(text), { instanceOf: FluidError }))?.code
  t.is(await code('12D3KooWAAA'), 'USAGE')
  t.is(await code('12D3KooW'), 'NOT_PAIRED')
  t.is(await code('AAA'), 'NOT_PAIRED')
  t.is(await code('nobody'), 'NOT_PAIRED')
  t.is(await code(''), 'NOT_PAIRED')
})

test('heard() keeps what a peer answers about our grant there, with its bounds while it holds', async (t) => {
  const peers = await twoPeers(t)
  await peers.put({ ...peers.get(A)!, granted: { write: true, maxBytes: 5, ask: true } })
  await peers.heard(A, true)
  t.deepEqual(peers.get(A)!.granted, { write: true, maxBytes: 5, ask: true })
  await peers.heard(A, false)
  t.deepEqual(peers.get(A)!.granted, { write: false, maxBytes: 0, ask: false })
  await peers.heard(B, true)
  t.true(peers.get(B)!.granted?.write)
  await peers.heard('nobody', true)
  t.is(peers.get('nobody'), undefined)
})

test('nameFor() keeps names unique: a wanted one is refused, a claimed one numbered', async (t) => {
  const peers = await twoPeers(t)
  t.is(await peers.nameFor('x', { claimed: 'alpine' }), 'alpine-2')
  t.is(await peers.nameFor(A, { claimed: 'other' }), 'alpine')
  t.is(await peers.nameFor(A, { wanted: 'alpine', claimed: '' }), 'alpine')
  for (const wanted of ['alpine', 'a b', 'a:b', '', A]) {
    t.is(
      (await t.throwsAsync(peers.nameFor('x', { wanted, claimed: 'x' }), { instanceOf: FluidError }))?.code,
      'USAGE',
      wanted,
    )
  }
})

test('freePeerName() makes a valid, free name of anything', (t) => {
  const taken = new Set(['peer', 'peer-2', 'a'])
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('a', A, 'QmX', '-.', '\u202eevil')),
      (claimed) => {
        const name = freePeerName(claimed, (text) => taken.has(text))
        return isPeerName(name) && !taken.has(name)
      },
    ),
  )
  t.is(
    freePeerName('Alpine Cloud', () => false),
    'Alpine-Cloud',
  )
  t.is(
    freePeerName(A, (text) => taken.has(text)),
    'peer-3',
  )
})
