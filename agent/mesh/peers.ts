/** The peers this agent is paired with: who they are, what they are called here, where they were last reached. */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_ADDRESSES } from '../../protocol/limits.ts'
import { freePeerName, isPeerName } from './peer-name.ts'
import type { StateStore, WriteOp } from '../state-store.ts'

export interface PeerRecord {
  readonly peer: string
  /** Unique here. */
  readonly name: string
  /** Unix time, ms. */
  readonly pairedAt: number
  /** Multiaddrs known when it was paired; the mesh node's address book knows newer ones. */
  readonly addrs: readonly string[]
  /** What it said we may do there; its own policy decides. */
  readonly granted?: { readonly write: boolean; readonly maxBytes: number; readonly ask: boolean }
}

export interface Peers {
  get(peer: string): PeerRecord | undefined
  /** The gate's question: synchronous, from disk, never stale. */
  isPaired(peer: string): boolean
  /** By name. */
  list(): Promise<PeerRecord[]>
  /** The paired peer of that ID, name, or unambiguous beginning of an ID. Throws NOT_PAIRED, USAGE. */
  resolve(text: string): Promise<PeerRecord>
  /**
   * The name a peer gets: `wanted` by a person here (throws USAGE when it is taken or malformed), else the one it has,
   * else `claimed` by the peer, made safe and unique.
   */
  nameFor(peer: string, names: { wanted?: string; claimed: string }): Promise<string>
  put(record: PeerRecord): Promise<void>
  /** What its answer to an offer says of whether we may write there: grants change, and nobody is told otherwise. */
  heard(peer: string, write: boolean): Promise<void>
  putOp(record: PeerRecord): WriteOp
  delOp(peer: string): WriteOp
}

/** The peers kept in `store`. */
export function createPeers(store: StateStore): Peers {
  const table = store.table<PeerRecord>('peers')

  const list = async () => (await table.all()).sort((a, b) => (a.name < b.name ? -1 : 1))
  const putOp = (record: PeerRecord) =>
    table.putOp(record.peer, { ...record, addrs: record.addrs.slice(0, MAX_ADDRESSES) })

  async function resolve(text: string): Promise<PeerRecord> {
    const exact = table.get(text)
    if (exact) return exact
    const all = await list()
    const named = all.find((record) => record.name === text)
    if (named) return named
    const matches =
      text.length >= MIN_PREFIX_CHARS ? all.filter((record) => startsLike(record.peer, text)) : []
    if (matches.length === 1) return matches[0]
    if (matches.length > 1) {
      const names = matches.map((record) => record.name).join(', ')
      throw new FluidError('USAGE', `${text} is the beginning of several peer IDs`, {
        hint: `It could be ${names}`,
      })
    }
    throw new FluidError('NOT_PAIRED', `No paired peer is called ${text}`, { peer: text })
  }

  async function nameFor(
    peer: string,
    { wanted, claimed }: { wanted?: string; claimed: string },
  ): Promise<string> {
    const others = (await table.all()).filter((record) => record.peer !== peer)
    const taken = (name: string) => others.some((record) => record.name === name)
    if (wanted === undefined) return table.get(peer)?.name ?? freePeerName(claimed, taken)
    if (!isPeerName(wanted)) {
      throw new FluidError('USAGE', `'${wanted}' is not a name for a peer`, {
        hint: 'Use letters, digits, dots, dashes and underscores, at most 63',
      })
    }
    if (taken(wanted))
      throw new FluidError('USAGE', `Another peer is called ${wanted}`, { hint: 'Choose another with --as' })
    return wanted
  }

  return {
    get: (peer) => table.get(peer),
    isPaired: (peer) => table.get(peer) !== undefined,
    list,
    resolve,
    nameFor,
    put: (record) => store.write([putOp(record)]),
    async heard(peer, write) {
      const record = table.get(peer)
      if (!record || (record.granted?.write ?? false) === write) return
      const bounds = write ? record.granted : undefined
      await store.write([putOp({ ...record, granted: { maxBytes: 0, ask: false, ...bounds, write } })])
    },
    putOp,
    delOp: (peer) => table.delOp(peer),
  }
}

/** Every Ed25519 peer ID begins with 12D3KooW, so that a beginning may be typed with it or without. */
const COMMON_START = '12D3KooW'
const MIN_PREFIX_CHARS = 4

function startsLike(peer: string, text: string): boolean {
  if (text.startsWith(COMMON_START)) return text.length > COMMON_START.length && peer.startsWith(text)
  return peer.startsWith(COMMON_START + text)
}
