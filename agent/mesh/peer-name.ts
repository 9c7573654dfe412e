/**
 * Names of peers as people type them: the PEER of `PEER:DST`. A name never looks like a peer ID, so nobody can take
 * another's. What a peer calls itself is its word only: it is made safe before anyone sees it.
 */

const MAX_PEER_NAME_CHARS = 63
const PEER_ID_START = /^(12D3Koo|Qm)/i

/** True for letters, digits, dots, dashes and underscores, at most 63, that do not begin like a peer ID. */
export function isPeerName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text) && !PEER_ID_START.test(text)
}

/** `claimed` as a valid name that `taken` does not know: foreign letters dashed, a number added when it must be. */
export function freePeerName(claimed: string, taken: (name: string) => boolean): string {
  const clean = claimed
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+|-+$/g, '')
    .slice(0, MAX_PEER_NAME_CHARS - 5)
  const name = isPeerName(clean) ? clean : 'peer'
  let free = name
  for (let count = 2; taken(free); count++) free = `${name}-${count}`
  return free
}
