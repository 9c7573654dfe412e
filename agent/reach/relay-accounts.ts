/**
 * What a relay has carried in the last 24 hours, for whom: all together, and for each peer that sent or received it. It
 * is kept in the state store, so a relay that starts again goes on counting.
 */
import { MAX_RELAY_ACCOUNTS, RELAY_SAVE_BYTES, RELAY_SAVE_MS } from '../../protocol/limits.ts'
import type { StateStore } from '../state-store.ts'

/** A row of the store. */
export interface RelayAccount {
  /** Peer ID; ALL: everybody together. */
  readonly peer: string
  /** Unix time, ms, when the 24 hours began. */
  readonly since: number
  readonly bytes: number
}

export interface RelayAccounts extends AsyncDisposable {
  /** Bytes that may still be carried for all of `peers`. */
  left(...peers: string[]): number
  spend(bytes: number, ...peers: string[]): void
  report(): RelayAccountsReport
}

export interface RelayAccountsReport {
  /** Since the day of the quota began. */
  readonly bytes: number
  readonly quotaBytes: number
  /** What is carried for one peer. */
  readonly peerQuotaBytes: number
  /** Peers that have used theirs up, at most 16. */
  readonly spentBy: readonly string[]
}

const DAY_MS = 24 * 60 * 60_000
const ALL = 'all'
/** The part of a quota that one peer gets. */
const PEER_SHARE = 1 / 4

/** The accounts in `store`, which outlives them. Throws STATE_DAMAGED. */
export async function openRelayAccounts({
  store,
  bytes: most,
  peerBytes: mostOfPeer = Math.ceil(most * PEER_SHARE),
  leastBytes = 0,
  now = Date.now,
}: {
  readonly store: StateStore
  /** Carried in 24 hours for all together, and for one peer: PEER_SHARE of it unless given. */
  readonly bytes: number
  readonly peerBytes?: number
  /** Up to so much left is too little to be of use: the quota is used up. */
  readonly leastBytes?: number
  /** Unix time, ms. */
  readonly now?: () => number
}): Promise<RelayAccounts> {
  const table = store.table<RelayAccount>('relayed')
  const accounts = new Map((await table.all()).map((account) => [account.peer, account]))
  const changed = new Set<string>()
  let unsaved = 0
  let saving: Promise<void> = Promise.resolve()

  /** The account of `peer` today; a clock that was set back does not begin another day. */
  function today(peer: string): RelayAccount {
    const account = accounts.get(peer)
    return account && now() - account.since < DAY_MS ? account : { peer, since: now(), bytes: 0 }
  }

  /** What is left of `quota` for `peer`. */
  function leftOf(peer: string, quota: number): number {
    const left = quota - today(peer).bytes
    return left > leastBytes ? left : 0
  }

  function put(account: RelayAccount): void {
    if (!accounts.has(account.peer) && accounts.size > MAX_RELAY_ACCOUNTS) forget()
    accounts.set(account.peer, account)
    changed.add(account.peer)
  }

  /** Makes room: for the one that began first, whose day is over or soonest over. */
  function forget(): void {
    const [oldest] = [...accounts.values()]
      .filter(({ peer }) => peer !== ALL)
      .toSorted((a, b) => a.since - b.since)
    accounts.delete(oldest.peer)
    changed.add(oldest.peer)
  }

  function save(): void {
    unsaved = 0
    const changes = [...changed].map((peer) => {
      const account = accounts.get(peer)
      return account ? table.putOp(peer, account) : table.delOp(peer)
    })
    changed.clear()
    if (changes.length > 0)
      // Counting goes on in memory where nothing can be written.
      saving = store.write(changes, { durable: false }).catch(() => {})
  }

  const timer = setInterval(save, RELAY_SAVE_MS)
  timer.unref()
  return {
    left: (...peers) => Math.min(leftOf(ALL, most), ...peers.map((peer) => leftOf(peer, mostOfPeer))),
    spend(bytes, ...peers) {
      for (const peer of [ALL, ...peers]) {
        const account = today(peer)
        put({ ...account, bytes: account.bytes + bytes })
      }
      unsaved += bytes
      if (unsaved >= RELAY_SAVE_BYTES) save()
    },
    report: () => ({
      bytes: today(ALL).bytes,
      quotaBytes: most,
      peerQuotaBytes: mostOfPeer,
      spentBy: [...accounts.keys()]
        .filter((peer) => peer !== ALL && leftOf(peer, mostOfPeer) === 0)
        .slice(0, 16),
    }),
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      save()
      await saving
    },
  }
}
