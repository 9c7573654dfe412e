/**
 * What one broker holds: offers in `level`, each until its lease ends, all of them decoded in memory for matching. What
 * comes in is examined here, wherever it came from; refusals are counted by reason. Spec: catalog.md, Catalogue.
 */
import type { ClassicLevel } from 'classic-level'
import type { Offer, Outcome, SignedOffer, Verdict } from '../protocol/catalog-message.ts'
import {
  decodeOffer,
  decodeSignedOffer,
  encodeSignedOffer,
  isSignedBy,
  offerPosition,
  readOffer,
} from '../protocol/catalog-offer.ts'
import {
  CATALOG_SWEEP_INTERVAL_MS,
  MAX_CATALOG_BYTES,
  MAX_CATALOG_OFFERS,
  MAX_OFFERS_PER_PROVIDER,
  MAX_OFFER_BYTES_PER_PROVIDER,
} from '../protocol/limits.ts'
import { createPositionIndex, type PositionIndex } from './position-index.ts'
import { createPartSharing } from './share-parts.ts'
import type { Share } from './shares.ts'

/** How an offer came: published here, gossiped by a broker, or fetched from one. */
export type Origin = 'published' | 'gossiped' | 'fetched'

/** An offer, or a tombstone, whose lease runs. */
export interface HeldOffer {
  /** Lower-case hex. */
  readonly position: string
  /** As its provider signed it: what is handed on. */
  readonly signed: SignedOffer
  readonly offer: Offer
}

export interface Catalog extends AsyncDisposable {
  /** Positions and sequence numbers of all that is held, tombstones included. */
  readonly index: Omit<PositionIndex, 'set' | 'delete'>
  /** Offers with a running lease, tombstones not; in no order. The list is the catalogue's own: do not change it. */
  readonly offers: readonly HeldOffer[]
  get(position: string): HeldOffer | undefined
  /** True when there is nothing newer to learn about `position` than what is known, held or not. */
  knows(position: string, sequence: number): boolean
  /**
   * Examines offers and keeps those that hold, as far as `share` has room for those that are new. What was kept is on disk
   * when it resolves, unless it was gossiped. Verdicts are in the order of the offers.
   */
  put(offers: readonly SignedOffer[], origin: Origin, share?: Share): Promise<Verdict[]>
  /** Counts what was refused without coming this far. */
  count(outcome: Outcome, times?: number): void
  /** Offers refused since the start, by reason. */
  refused(): Partial<Record<Outcome, number>>
  /** Calls `listener` with what is kept from now on, tombstones included, once it is on disk. */
  onKept(listener: (kept: readonly HeldOffer[], origin: Origin) => void): Disposable
  /** Forgets what ended; done by itself every CATALOG_SWEEP_INTERVAL_MS. */
  sweep(): Promise<void>
}

export interface CatalogOptions {
  /** Unix time, ms. */
  readonly now?: () => number
  readonly bounds?: Partial<CatalogBounds>
}

/** What offers may take; the limits of the same names unless given. */
export interface CatalogBounds {
  readonly offers: number
  readonly bytes: number
  readonly offersPerProvider: number
  readonly bytesPerProvider: number
}

const BOUNDS: CatalogBounds = {
  offers: MAX_CATALOG_OFFERS,
  bytes: MAX_CATALOG_BYTES,
  offersPerProvider: MAX_OFFERS_PER_PROVIDER,
  bytesPerProvider: MAX_OFFER_BYTES_PER_PROVIDER,
}

/** All that is known about one position. */
interface Known {
  readonly peer: string
  readonly sequence: number
  /** End of the longest lease of any version: until then an older one could be replayed. */
  readonly untilMs: number
  /** Of the body; counted while the position is known. */
  readonly bytes: number
  /** Name of the share that it was new in; unknown after a restart. */
  readonly share?: string
  /** Undefined once the lease is over. */
  readonly held?: HeldOffer
}

interface Usage {
  offers: number
  bytes: number
}

type Change =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array }

const FLOOR_BYTES = 8

/** The catalogue inside `level`, of which it takes a sublevel; disposing it leaves `level` open. */
export async function openCatalog(
  level: ClassicLevel<Uint8Array, Uint8Array>,
  options: CatalogOptions = {},
): Promise<Catalog> {
  const { now = Date.now } = options
  const bounds = { ...BOUNDS, ...options.bounds }
  const rows = level.sublevel<Uint8Array, Uint8Array>('catalog', {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  await rows.open()
  const known = new Map<string, Known>()
  const sharing = createPartSharing()
  /** By provider, and by share. */
  const usage = new Map<string, Usage>()
  const total: Usage = { offers: 0, bytes: 0 }
  const index = createPositionIndex()
  const refusals = new Map<Outcome, number>()
  const listeners = new Set<(kept: readonly HeldOffer[], origin: Origin) => void>()
  let live: readonly HeldOffer[] | undefined

  // Through the database: a sublevel's own batch() cannot be told to reach the disk.
  const commit = groupCommit((changes) =>
    level.batch(
      changes.map((change) => ({ ...change, sublevel: rows })),
      { sync: true },
    ),
  )

  function account({ peer, share, bytes }: Known, sign: 1 | -1): void {
    for (const key of share === undefined ? [peer] : [peer, share]) {
      const used = usageOf(key)
      add(used, sign, sign * bytes)
      if (used.offers > 0) usage.set(key, used)
      else usage.delete(key)
    }
    add(total, sign, sign * bytes)
  }

  const usageOf = (key: string): Usage => usage.get(key) ?? { offers: 0, bytes: 0 }

  /** Replaces what is known about a position; undefined: nothing. */
  function learn(position: string, next: Known | undefined): void {
    const before = known.get(position)
    if (before) account(before, -1)
    if (next) {
      account(next, 1)
      known.set(position, next)
    } else known.delete(position)
    if (next?.held) index.set(position, next.sequence)
    else index.delete(position)
    live = undefined
  }

  function crowds({ peer }: Offer, bytes: number, before: Known | undefined, share?: Share): boolean {
    const [offers, more] = before ? [0, bytes - before.bytes] : [1, bytes]
    const exceeds = (used: Usage, most: Usage): boolean =>
      used.offers + offers > most.offers || used.bytes + more > most.bytes
    return (
      exceeds(usageOf(peer), { offers: bounds.offersPerProvider, bytes: bounds.bytesPerProvider }) ||
      // A newer version stays where the first was new.
      (share !== undefined && !before && exceeds(usageOf(share.name), share)) ||
      exceeds(total, bounds)
    )
  }

  /** What speaks against `offer`, given what is known now; 'held' when it is here already. */
  function stale(position: string, signed: SignedOffer, offer: Offer): Verdict | undefined {
    const before = known.get(position)
    if (!before || offer.sequence > before.sequence) return undefined
    const isSame =
      offer.sequence === before.sequence &&
      before.held !== undefined &&
      Buffer.compare(before.held.signed.body, signed.body) === 0
    if (isSame) return { outcome: 'held', message: '' }
    return {
      outcome: 'replayed',
      message: `Sequence number ${offer.sequence} is not above ${before.sequence}, which is known`,
    }
  }

  async function examine(signed: SignedOffer): Promise<Verdict | { position: string; offer: Offer }> {
    const read = readOffer(signed, now())
    if (!read.offer) return read
    const { offer } = read
    const position = Buffer.from(offerPosition(offer)).toString('hex')
    // What costs little comes first: nobody buys a signature check with what was known before.
    const known = stale(position, signed, offer)
    if (known) return known
    if (!(await isSignedBy(signed, offer.peer)))
      return { outcome: 'forged', message: 'Offer is not signed by the peer it names' }
    return { position, offer }
  }

  function keep(position: string, signed: SignedOffer, offer: Offer, share?: Share): Verdict | Change {
    // Another may have come while signatures were checked.
    const known_ = stale(position, signed, offer)
    if (known_) return known_
    const before = known.get(position)
    if (crowds(offer, signed.body.length, before, share)) {
      return {
        outcome: 'crowded',
        message: 'The provider, its host or the catalogue holds as many offers as it may',
      }
    }
    const untilMs = Math.max(offer.expiresAtMs, before?.untilMs ?? 0)
    const held = { position, signed, offer: sharing(offer) }
    const { peer, sequence } = offer
    const shared = before ? before.share : share?.name
    learn(position, { peer, sequence, untilMs, bytes: signed.body.length, share: shared, held })
    return { type: 'put', key: Buffer.from(position, 'hex'), value: encodeRow(signed, untilMs) }
  }

  async function put(offers: readonly SignedOffer[], origin: Origin, share?: Share): Promise<Verdict[]> {
    const examined = await Promise.all(offers.map(examine))
    const changes: Change[] = []
    const kept: HeldOffer[] = []
    const verdicts = examined.map((found, at): Verdict => {
      if ('outcome' in found) return found
      const result = keep(found.position, offers[at], found.offer, share)
      if ('outcome' in result) return result
      changes.push(result)
      kept.push({ ...found, signed: offers[at] })
      return { outcome: 'kept', message: '' }
    })
    for (const { outcome } of verdicts) if (outcome !== 'kept' && outcome !== 'held') count(outcome)
    if (changes.length === 0) return verdicts
    const written = commit(changes).then(() => {
      for (const listener of listeners) listener(kept, origin)
    })
    // Gossip waits for nobody: what a crash loses of it comes again with the next comparison.
    if (origin === 'gossiped') written.catch(() => {})
    else await written
    return verdicts
  }

  function count(outcome: Outcome, times = 1): void {
    refusals.set(outcome, (refusals.get(outcome) ?? 0) + times)
  }

  async function sweep(): Promise<void> {
    const at = now()
    const changes: Change[] = []
    for (const [position, entry] of known) {
      if (entry.untilMs <= at) {
        learn(position, undefined)
        changes.push({ type: 'del', key: Buffer.from(position, 'hex') })
      } else if (entry.held && entry.held.offer.expiresAtMs <= at) {
        learn(position, { ...entry, held: undefined })
      }
    }
    if (changes.length > 0) await commit(changes)
  }

  async function load(): Promise<void> {
    for await (const [key, value] of rows.iterator()) {
      const { signed, untilMs } = decodeRow(value)
      const position = Buffer.from(key).toString('hex')
      // It was examined when it came; only its lease is looked at again.
      const offer = decodeOffer(signed.body)
      const held = offer.expiresAtMs > now() ? { position, signed, offer: sharing(offer) } : undefined
      learn(position, {
        peer: offer.peer,
        sequence: offer.sequence,
        untilMs,
        bytes: signed.body.length,
        held,
      })
    }
    await sweep()
  }

  await load()
  const sweeping = setInterval(() => void sweep().catch(() => {}), CATALOG_SWEEP_INTERVAL_MS)
  sweeping.unref()

  return {
    index,
    get offers() {
      const at = now()
      live ??= [...known.values()].flatMap(({ held }) => (held && !held.offer.withdrawn ? [held] : []))
      // Between sweeps some end; mostly none, and then nothing is copied.
      return live.every(({ offer }) => offer.expiresAtMs > at)
        ? live
        : (live = live.filter(({ offer }) => offer.expiresAtMs > at))
    },
    get(position) {
      const held = known.get(position)?.held
      return held && held.offer.expiresAtMs > now() ? held : undefined
    },
    knows: (position, sequence) => (known.get(position)?.sequence ?? 0) >= sequence,
    put,
    count,
    refused: () => Object.fromEntries(refusals),
    onKept(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    sweep,
    [Symbol.asyncDispose]: async () => {
      clearInterval(sweeping)
      await commit([])
    },
  }
}

function add(used: Usage, offers: number, bytes: number): void {
  used.offers += offers
  used.bytes += bytes
}

/** Writes changes in the order of the calls; those that come while one write runs go together in the next. */
function groupCommit(write: (changes: Change[]) => Promise<void>): (changes: Change[]) => Promise<void> {
  let waiting: Change[] = []
  let next: Promise<void> | undefined
  let running: Promise<void> = Promise.resolve()
  return (changes) => {
    waiting.push(...changes)
    next ??= running
      .catch(() => {})
      .then(() => {
        const all = waiting
        waiting = []
        next = undefined
        running = all.length > 0 ? write(all) : Promise.resolve()
        return running
      })
    return next
  }
}

/** A row: until when the sequence number counts (u64 LE), and the offer as it was signed. */
function encodeRow(signed: SignedOffer, untilMs: number): Uint8Array {
  const floor = Buffer.allocUnsafe(FLOOR_BYTES)
  floor.writeBigUInt64LE(BigInt(untilMs))
  return Buffer.concat([floor, encodeSignedOffer(signed)])
}

function decodeRow(row: Uint8Array): { signed: SignedOffer; untilMs: number } {
  const bytes = Buffer.from(row.buffer, row.byteOffset, row.length)
  return {
    signed: decodeSignedOffer(bytes.subarray(FLOOR_BYTES)),
    untilMs: Number(bytes.readBigUInt64LE()),
  }
}
