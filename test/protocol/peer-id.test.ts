import { peerIdFromString } from '@libp2p/peer-id'
import test from 'ava'
import fc from 'fast-check'
import { createIdentityKey, parseIdentity } from '../../agent/identity.ts'
import { isPeerId } from '../../protocol/peer-id.ts'

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

/** What libp2p makes of it. */
function isEd25519(text: string): boolean {
  try {
    return peerIdFromString(text).type === 'Ed25519'
  } catch {
    return false
  }
}

test('isPeerId() knows only Ed25519 peer IDs in base58', async (t) => {
  const { peerId } = parseIdentity(await createIdentityKey())
  t.true(isPeerId(peerId))
  for (const text of [
    peerId.slice(1),
    `${peerId}1`,
    peerId.replace('12D3', '12d3'),
    'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
  ]) {
    t.false(isPeerId(text), text)
  }
})

test('isPeerId() agrees with libp2p on whatever begins like a peer ID', (t) => {
  const letters = fc.constantFrom(...Array.from(BASE58))
  const rest = fc.array(letters, { minLength: 44, maxLength: 44 })
  fc.assert(
    fc.property(rest, fc.constantFrom('12D3KooW', '12D3KooZ'), (some, start) => {
      const text = start + some.join('')
      t.is(isPeerId(text), isEd25519(text), text)
    }),
  )
  // The least and the greatest that have its form.
  for (const letter of ['1', 'z']) {
    const text = `12D3KooW${letter.repeat(44)}`
    t.is(isPeerId(text), isEd25519(text), text)
  }
})
