/** Requests to be paired that wait for a person: theirs here, ours at others. Bounded, and kept across restarts. */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_ADDRESSES, MAX_HOST_STRANGERS, MAX_PENDING_PAIRINGS } from '../../protocol/limits.ts'
import type { StateStore, WriteOp } from '../state-store.ts'

/** How long a rejected peer is told so, rather than put before a person again. */
const REJECTION_KEPT_MS = 24 * 3600_000
const MIN_PREFIX_CHARS = 4

export interface PendingRecord {
  readonly peer: string
  /** What the other side calls itself ('in'), or shall be called here ('out', '' when not said). */
  readonly name: string
  readonly direction: 'in' | 'out'
  /** Unix time, ms. */
  readonly since: number
  /** Multiaddrs at which it can be told. */
  readonly addrs: readonly string[]
  /** Where a request came from, for the limit. */
  readonly host?: string
  /** Unix time, ms; set when a person said no. */
  readonly rejectedAt?: number
}

export interface PendingPairings {
  /** True when we asked `peer`, and it has not answered. Synchronous, for the gate. */
  isAwaited(peer: string): boolean
  get(direction: 'in' | 'out', peer: string): PendingRecord | undefined
  /** Keeps a request of theirs. Throws APPROVAL_REJECTED, LIMIT_EXCEEDED. */
  keepIn(request: { peer: string; name: string; host?: string }): Promise<PendingRecord>
  keepOut(request: { peer: string; name: string; addrs: readonly string[] }): Promise<PendingRecord>
  learnAddrs(record: PendingRecord, addrs: readonly string[]): Promise<void>
  reject(record: PendingRecord): Promise<void>
  /** Those that wait; oldest first. */
  list(): Promise<PendingRecord[]>
  /** Their request, by peer ID, name, or unambiguous beginning of an ID; a rejected one by its whole ID only. Throws USAGE. */
  resolveIn(text: string): Promise<PendingRecord>
  /** Ends both directions, as part of a batch. */
  delOps(peer: string): WriteOp[]
}

/** The requests kept in `store`. */
export function createPendingPairings(options: { store: StateStore; now: () => number }): PendingPairings {
  const { store, now } = options
  const table = store.table<PendingRecord>('pending')
  const keyOf = (direction: 'in' | 'out', peer: string) => `${direction}:${peer}`
  const get = (direction: 'in' | 'out', peer: string) => table.get(keyOf(direction, peer))
  const put = (record: PendingRecord) => table.put(keyOf(record.direction, record.peer), record)

  const list = async () =>
    (await table.all()).filter((record) => record.rejectedAt === undefined).sort((a, b) => a.since - b.since)

  async function keepIn({
    peer,
    name,
    host,
  }: {
    peer: string
    name: string
    host?: string
  }): Promise<PendingRecord> {
    const known = get('in', peer)
    if (known?.rejectedAt !== undefined && now() - known.rejectedAt < REJECTION_KEPT_MS) {
      throw new FluidError('APPROVAL_REJECTED', 'The request to be paired was rejected')
    }
    if (known && known.rejectedAt === undefined) return known
    const waiting = (await list()).filter((record) => record.direction === 'in')
    const fromHost = waiting.filter((record) => record.host === host).length
    if (waiting.length >= MAX_PENDING_PAIRINGS || fromHost >= MAX_HOST_STRANGERS) {
      throw new FluidError('LIMIT_EXCEEDED', 'Too many requests to be paired wait already')
    }
    const record: PendingRecord = { peer, name, host, direction: 'in', since: now(), addrs: [] }
    await put(record)
    return record
  }

  async function resolveIn(text: string): Promise<PendingRecord> {
    const exact = get('in', text)
    if (exact) return exact
    const waiting = (await list()).filter((record) => record.direction === 'in')
    const named = waiting.filter((record) => record.name === text)
    const found =
      named.length > 0 || text.length < MIN_PREFIX_CHARS
        ? named
        : waiting.filter(
            (record) => record.peer.startsWith(text) || record.peer.startsWith(`12D3KooW${text}`),
          )
    if (found.length === 1) return found[0]
    const hint = 'List the requests with fluidcloud pair pending'
    if (found.length === 0)
      throw new FluidError('USAGE', `No request to be paired came from ${text}`, { hint })
    throw new FluidError('USAGE', `Several requests to be paired fit ${text}: give the whole peer ID`, {
      hint,
    })
  }

  return {
    isAwaited: (peer) => get('out', peer) !== undefined,
    get,
    keepIn,
    keepOut: async (request) => {
      const record: PendingRecord = {
        ...request,
        direction: 'out',
        since: get('out', request.peer)?.since ?? now(),
      }
      await put(record)
      return record
    },
    learnAddrs: async (record, addrs) => {
      // Answered meanwhile: nothing to add to.
      if (get(record.direction, record.peer)) await put({ ...record, addrs: addrs.slice(0, MAX_ADDRESSES) })
    },
    reject: (record) => put({ ...record, rejectedAt: now() }),
    list,
    resolveIn,
    delOps: (peer) => [table.delOp(keyOf('in', peer)), table.delOp(keyOf('out', peer))],
  }
}
