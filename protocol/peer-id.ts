/**
 * Peer IDs as text. Those of agents are Ed25519 and inline the public key
 * (https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md). Pure, and light: commands start with it.
 */

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
/** In base58 always these letters, and always 52 of them. */
const FORM = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/
/** Identity multihash of 36 bytes, in which a protobuf: type Ed25519, key of 32 bytes. Its leading zero is the first 1. */
const PREFIX = '2408011220'
const KEY_DIGITS = 64

/** True for an Ed25519 peer ID in its base58 form, the only kind an agent has. */
export function isPeerId(text: string): boolean {
  if (!FORM.test(text)) return false
  let number = 0n
  for (const letter of text) number = number * 58n + BigInt(BASE58.indexOf(letter))
  const digits = number.toString(16)
  return digits.length === PREFIX.length + KEY_DIGITS && digits.startsWith(PREFIX)
}
