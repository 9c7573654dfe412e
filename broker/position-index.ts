/**
 * Which versions of which offers a broker holds, as two brokers compare it: a tree over positions with 256 children a
 * node. Equal digests mean equal entries, so what is the same below a prefix is not looked at. Spec: catalog.md,
 * Replication. Pure; it holds positions and sequence numbers, not offers.
 */
import { blake3 } from '@napi-rs/blake-hash'
import { MAX_PREFIX_BYTES, OFFER_POSITION_BYTES } from '../protocol/limits.ts'

/** An entry on the wire: a position, and a sequence number as u64 LE. */
export const ENTRY_BYTES = OFFER_POSITION_BYTES + 8
/** Of a digest of entries. */
export const SUMMARY_DIGEST_BYTES = 16

/** One child of a prefix: everything held below `prefix`, lower-case hex. */
export interface SummaryNode {
  readonly prefix: string
  readonly entries: number
  readonly digest: Uint8Array
}

export interface PositionIndex {
  readonly size: number
  /** Adds a position (lower-case hex), or gives it another sequence number. */
  set(position: string, sequence: number): void
  delete(position: string): void
  sequenceOf(position: string): number | undefined
  /** The nodes one byte below `prefix` under which anything is held, ascending. */
  children(prefix: string): SummaryNode[]
  /** Positions below `prefix`, ascending. */
  below(prefix: string): string[]
  /** Positions after `position` (from the start when it is empty), ascending, at most `limit`. */
  after(position: string, limit: number): string[]
}

/** Everything that begins with one byte: the unit that is kept sorted, and whose digest is remembered. */
interface Group {
  positions: string[]
  digest: Uint8Array | undefined
}

/** An empty index. A change costs a binary search and a splice of 1/256 of the positions; digests are made when asked for. */
export function createPositionIndex(): PositionIndex {
  const groups = new Map<number, Group>()
  const sequences = new Map<string, number>()

  const groupOf = (position: string) => Number.parseInt(position.slice(0, 2), 16)

  /** The first index of `positions` that is not before `wanted`. */
  function search(positions: readonly string[], wanted: string): number {
    let [low, high] = [0, positions.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (positions[middle] < wanted) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Positions of one group that begin with `prefix`, of one byte or more. */
  function range(prefix: string): string[] {
    const group = groups.get(groupOf(prefix))
    if (!group) return []
    if (prefix.length === 2) return group.positions
    // No hex digit comes after f.
    return group.positions.slice(search(group.positions, prefix), search(group.positions, `${prefix}g`))
  }

  function digestOf(positions: readonly string[]): Uint8Array {
    return blake3(entriesOf(positions)).subarray(0, SUMMARY_DIGEST_BYTES)
  }

  function entriesOf(positions: readonly string[]): Buffer {
    return encodeEntries(positions.map((position) => ({ position, sequence: sequences.get(position)! })))
  }

  function* inOrder(from: number): Generator<[prefix: string, group: Group]> {
    for (let byte = from; byte < 256; byte++) {
      const group = groups.get(byte)
      if (group) yield [byte.toString(16).padStart(2, '0'), group]
    }
  }

  return {
    get size() {
      return sequences.size
    },
    set(position, sequence) {
      const byte = groupOf(position)
      let group = groups.get(byte)
      if (!group) groups.set(byte, (group = { positions: [], digest: undefined }))
      if (!sequences.has(position)) group.positions.splice(search(group.positions, position), 0, position)
      sequences.set(position, sequence)
      group.digest = undefined
    },
    delete(position) {
      if (!sequences.delete(position)) return
      const group = groups.get(groupOf(position))!
      group.positions.splice(search(group.positions, position), 1)
      group.digest = undefined
      if (group.positions.length === 0) groups.delete(groupOf(position))
    },
    sequenceOf: (position) => sequences.get(position),
    children(prefix) {
      if (prefix.length >= MAX_PREFIX_BYTES * 2) throw new RangeError(`${prefix} has no children`)
      if (prefix === '') {
        return [...inOrder(0)].map(([child, group]) => ({
          prefix: child,
          entries: group.positions.length,
          digest: (group.digest ??= digestOf(group.positions)),
        }))
      }
      const children = Map.groupBy(range(prefix), (position) => position.slice(0, prefix.length + 2))
      return [...children].map(([child, positions]) => ({
        prefix: child,
        entries: positions.length,
        digest: digestOf(positions),
      }))
    },
    below: (prefix) =>
      prefix === '' ? [...inOrder(0)].flatMap(([, { positions }]) => positions) : [...range(prefix)],
    after(position, limit) {
      const found: string[] = []
      for (const [, { positions }] of inOrder(position === '' ? 0 : groupOf(position))) {
        const at = position === '' ? 0 : search(positions, `${position}g`)
        found.push(...positions.slice(at, at + limit - found.length))
        if (found.length >= limit) break
      }
      return found
    },
  }
}

/** Entries as they travel and are digested; those given must be in ascending order. */
export function encodeEntries(
  entries: readonly { readonly position: string; readonly sequence: number }[],
): Buffer {
  const bytes = Buffer.allocUnsafe(entries.length * ENTRY_BYTES)
  for (const [at, { position, sequence }] of entries.entries()) {
    bytes.write(position, at * ENTRY_BYTES, OFFER_POSITION_BYTES, 'hex')
    bytes.writeBigUInt64LE(BigInt(sequence), at * ENTRY_BYTES + OFFER_POSITION_BYTES)
  }
  return bytes
}
