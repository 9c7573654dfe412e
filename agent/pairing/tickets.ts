/**
 * Tickets this agent issued: what each grants, how often and until when. Only a digest of the secret is kept. A use is
 * counted, the peer stored and its grant written in one batch, so that neither a crash nor a race gives one use twice.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { FluidError } from '../../protocol/errors.ts'
import {
  MAX_TICKET_FAILURES,
  MAX_TICKET_USES,
  TICKET_ID_BYTES,
  TICKET_SECRET_BYTES,
} from '../../protocol/limits.ts'
import { ticketSecretDigest } from '../../protocol/ticket.ts'
import type { StateStore, WriteOp } from '../state-store.ts'

/** An expired ticket is kept this long, for a redeemer that lost the answer to its last attempt. */
const KEPT_AFTER_EXPIRY_MS = 24 * 3600_000
/** A year. */
const MAX_EXPIRY_MS = 365 * 24 * 3600_000

/** What a ticket allows whoever redeems it. */
export interface TicketGrant {
  /** Real path. */
  readonly folder: string
  /** 0: no limit but the disk. */
  readonly maxBytes: number
  readonly approve: 'auto' | 'ask'
}

interface TicketRecord {
  /** Hex. */
  readonly id: string
  /** Hex. */
  readonly digest: string
  /** Unix time, ms. */
  readonly expiresAt: number
  readonly usesLeft: number
  /** Wrong secrets shown for it. */
  readonly failures: number
  readonly grant: TicketGrant
  readonly redeemedBy: readonly string[]
}

export interface Redemption {
  readonly id: Uint8Array
  readonly secret: Uint8Array
  readonly peer: string
  readonly isPaired: boolean
}

export interface Tickets {
  /** A new ticket; the secret exists here for this moment only. Throws USAGE. */
  issue(options: { expiresMs: number; uses: number; grant: TicketGrant }): Promise<{
    readonly id: Uint8Array
    readonly secret: Uint8Array
    readonly expiresAt: number
  }>
  /**
   * Uses a ticket: writes what `pair` makes of its grant together with the use, and returns true; false when this peer
   * used it before and is still paired, for whoever lost the answer. Throws TICKET_INVALID, and what `pair` throws.
   */
  redeem(redemption: Redemption, pair: (grant: TicketGrant) => Promise<readonly WriteOp[]>): Promise<boolean>
  /** True while some ticket could still be used. */
  isOutstanding(): boolean
}

/** The tickets kept in `store`. `now` is in ms. */
export async function openTickets(options: { store: StateStore; now: () => number }): Promise<Tickets> {
  const { store, now } = options
  const table = store.table<TicketRecord>('tickets')
  const tickets = new Map((await table.all()).map((record) => [record.id, record]))
  let last: Promise<unknown> = Promise.resolve()

  /** One change at a time: what was read is still so when it is written. */
  function exclusive<T>(change: () => Promise<T>): Promise<T> {
    const turn = last.then(change)
    last = turn.catch(() => {})
    return turn
  }

  async function keep(record: TicketRecord, others: readonly WriteOp[] = []): Promise<void> {
    await store.write([...others, table.putOp(record.id, record)])
    tickets.set(record.id, record)
  }

  async function forgetOld(): Promise<void> {
    const old = [...tickets.values()].filter((record) => record.expiresAt + KEPT_AFTER_EXPIRY_MS <= now())
    if (old.length === 0) return
    await store.write(old.map((record) => table.delOp(record.id)))
    for (const record of old) tickets.delete(record.id)
  }

  const isUsable = (record: TicketRecord) =>
    record.usesLeft > 0 && record.failures < MAX_TICKET_FAILURES && record.expiresAt > now()

  async function use(
    redemption: Redemption,
    pair: (grant: TicketGrant) => Promise<readonly WriteOp[]>,
  ): Promise<boolean> {
    const { id, secret, peer, isPaired } = redemption
    const record = tickets.get(Buffer.from(id).toString('hex'))
    const digest = ticketSecretDigest(secret)
    // An unknown ticket takes as long as a wrong secret, and is told the same.
    const genuine = timingSafeEqual(
      digest,
      record ? Buffer.from(record.digest, 'hex') : new Uint8Array(digest.length),
    )
    if (!record || !genuine) {
      if (record) await keep({ ...record, failures: record.failures + 1 })
      throw refused('The ticket is not one of this agent')
    }
    // From here on the peer has shown the secret, and may know why.
    if (record.failures >= MAX_TICKET_FAILURES)
      throw refused(`The ticket is void after ${record.failures} wrong secrets`)
    if (record.redeemedBy.includes(peer)) {
      if (isPaired) return false
      throw refused('The ticket was used by this peer, which was removed since')
    }
    if (record.expiresAt <= now())
      throw refused(`The ticket expired at ${new Date(record.expiresAt).toISOString()}`)
    if (record.usesLeft <= 0) throw refused('The ticket is used up')
    const writes = await pair(record.grant)
    await keep({ ...record, usesLeft: record.usesLeft - 1, redeemedBy: [...record.redeemedBy, peer] }, writes)
    return true
  }

  return {
    issue: ({ expiresMs, uses, grant }) => {
      if (!Number.isSafeInteger(uses) || uses < 1 || uses > MAX_TICKET_USES) {
        throw new FluidError('USAGE', `A ticket for ${uses} uses is outside 1 to ${MAX_TICKET_USES}`)
      }
      if (!Number.isSafeInteger(expiresMs) || expiresMs < 1 || expiresMs > MAX_EXPIRY_MS) {
        throw new FluidError('USAGE', `A ticket for ${expiresMs} ms is outside 1 ms to ${MAX_EXPIRY_MS} ms`)
      }
      return exclusive(async () => {
        await forgetOld()
        const id = randomBytes(TICKET_ID_BYTES)
        const secret = randomBytes(TICKET_SECRET_BYTES)
        const expiresAt = now() + expiresMs
        const digest = Buffer.from(ticketSecretDigest(secret)).toString('hex')
        await keep({
          id: id.toString('hex'),
          digest,
          expiresAt,
          usesLeft: uses,
          failures: 0,
          grant,
          redeemedBy: [],
        })
        return { id, secret, expiresAt }
      })
    },
    redeem: (redemption, pair) => exclusive(() => use(redemption, pair)),
    isOutstanding: () => [...tickets.values()].some(isUsable),
  }
}

function refused(message: string): FluidError {
  return new FluidError('TICKET_INVALID', message)
}
