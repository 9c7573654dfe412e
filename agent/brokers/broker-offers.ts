/**
 * The offers this agent publishes: kept in the state store, renewed at half their lease as long as the agent runs, and
 * taken back for good when their owner says so. Both go on after a restart.
 */
import { randomBytes } from 'node:crypto'
import type { MigratorSpec, Offer, Outcome, SignedOffer } from '../../protocol/catalog-message.ts'
import { encodeOffer, offerSigningBytes, tombstoneOf } from '../../protocol/catalog-offer.ts'
import { FluidError, type ErrorCode } from '../../protocol/errors.ts'
import { MAX_OWN_OFFERS, RENEWAL_RETRY_CAP_MS, RENEWAL_RETRY_MS } from '../../protocol/limits.ts'
import { dialableAddrs } from '../mesh/addresses.ts'
import type { OfferAtBroker, OwnOfferReport } from '../reports/offer-reports.ts'
import type { Answer, BrokerClient } from './broker-client.ts'
import type { Identity } from '../identity.ts'
import type { MeshNode } from '../mesh/node.ts'
import { type OfferFile, offerOf, parseOfferFile } from './offer-file.ts'
import type { Table } from '../state-store.ts'

/** An offer as it is kept. */
export interface OwnOffer {
  readonly id: string
  /** Where its file is: to publish the same file again is to change this offer. */
  readonly file: string
  readonly stated: OfferFile
  /** Brokers its owner named; empty: those of the configuration. */
  readonly brokers: readonly string[]
  /** Of the version that was signed last. */
  readonly sequence: number
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  /** True once its owner took it back; it is kept until a broker knows or the lease is over. */
  readonly withdrawn: boolean
}

export interface OfferPublisher extends AsyncDisposable {
  /**
   * Publishes what `text` says, as a new offer or in place of the one from the same file. Throws CONFIG_INVALID,
   * LIMIT_EXCEEDED, and when no broker took it what the first one said.
   */
  publish(options: {
    text: string
    file: string
    brokers: readonly string[]
    signal?: AbortSignal
  }): Promise<OwnOfferReport>
  /** Takes back the offer of that id, or of an unambiguous beginning of it. Throws USAGE. */
  withdraw(options: {
    offer: string
    brokers: readonly string[]
    signal?: AbortSignal
  }): Promise<OwnOfferReport>
  own(): readonly OwnOffer[]
}

export interface PublisherParts {
  readonly identity: Identity
  readonly node: MeshNode
  readonly client: BrokerClient
  readonly table: Table<OwnOffer>
  /** The Migrators that this agent hosts, for offers whose owner names none. */
  readonly hosted?: () => Promise<readonly MigratorSpec[]>
  /** Unix time, ms. */
  readonly now?: () => number
}

/** What a refusal means to the one who published. */
const CODES: Partial<Record<Outcome, ErrorCode>> = {
  hasty: 'LIMIT_EXCEEDED',
  crowded: 'LIMIT_EXCEEDED',
  oversized: 'LIMIT_EXCEEDED',
}
const MIN_ID_PREFIX_CHARS = 4

/** Renews what is in `table` until disposed. */
export async function openOfferPublisher(parts: PublisherParts): Promise<OfferPublisher> {
  const { identity, node, client, table, hosted = async () => [], now = Date.now } = parts
  const closing = new AbortController()
  const offers = new Map((await table.all()).map((offer) => [offer.id, offer]))
  const timers = new Map<string, NodeJS.Timeout>()
  const renewing = new Map<string, Promise<void>>()

  const keep = async (offer: OwnOffer): Promise<void> => {
    offers.set(offer.id, offer)
    await table.put(offer.id, offer)
  }
  const forget = async (id: string): Promise<void> => {
    clearTimeout(timers.get(id))
    timers.delete(id)
    offers.delete(id)
    await table.del(id)
  }

  /** The next version of an offer; its number is above whatever was published before, even from a lost state. */
  function nextVersion(before: OwnOffer): OwnOffer {
    const nowMs = now()
    return {
      ...before,
      sequence: Math.max(nowMs, before.sequence + 1),
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + before.stated.leaseMs,
    }
  }

  async function statedOffer({ id, stated, sequence, issuedAtMs }: OwnOffer): Promise<Offer> {
    const version = { id, peer: identity.peerId, sequence, nowMs: issuedAtMs, hosted: await hosted() }
    return offerOf(stated, { ...version, addresses: dialableAddrs(node) })
  }

  async function sign(offer: Offer): Promise<SignedOffer> {
    const body = encodeOffer(offer)
    return { body, signature: await identity.sign(offerSigningBytes(body)) }
  }

  /** Tells every broker of one version. */
  async function tell(
    offer: Offer,
    brokers: readonly string[],
    signal: AbortSignal,
  ): Promise<OfferAtBroker[]> {
    const signed = await sign(offer)
    const asked = await client.brokers(brokers, { signal })
    const answers = await client.askAll(asked, async (broker) => (await broker.publish([signed]))[0], {
      signal,
    })
    return answers.map(atBroker)
  }

  /** Signs the next version and tells it, or the tombstone; true when a broker knows now. */
  async function renew(id: string): Promise<boolean> {
    const before = offers.get(id)
    if (!before) return true
    if (before.withdrawn) {
      if (before.expiresAtMs <= now()) {
        await forget(id)
        return true
      }
      const told = await tell(await tombstone(before), before.brokers, closing.signal)
      if (!told.some(({ taken }) => taken)) return false
      await forget(id)
      return true
    }
    const next = nextVersion(before)
    await keep(next)
    return (await tell(await statedOffer(next), next.brokers, closing.signal)).some(({ taken }) => taken)
  }

  /** What was kept has the number of the tombstone already; see withdraw(). */
  async function tombstone(offer: OwnOffer): Promise<Offer> {
    return tombstoneOf(
      { ...(await statedOffer(offer)), expiresAtMs: offer.expiresAtMs, sequence: offer.sequence - 1 },
      now(),
    )
  }

  function schedule(id: string, waitMs: number, retryMs = RENEWAL_RETRY_MS): void {
    clearTimeout(timers.get(id))
    const run = async (): Promise<void> => {
      const isDone = await renew(id).catch(() => false)
      if (closing.signal.aborted) return
      const offer = offers.get(id)
      if (!offer) return
      if (isDone) schedule(id, offer.stated.leaseMs / 2)
      else schedule(id, retryMs * (0.5 + Math.random()), Math.min(2 * retryMs, RENEWAL_RETRY_CAP_MS))
    }
    const timer = setTimeout(
      () => {
        const work = run().finally(() => renewing.delete(id))
        renewing.set(id, work)
      },
      Math.max(0, waitMs),
    )
    timer.unref()
    timers.set(id, timer)
  }

  function find(text: string): OwnOffer {
    const exact = offers.get(text)
    if (exact) return exact
    const matches =
      text.length >= MIN_ID_PREFIX_CHARS ? [...offers.values()].filter(({ id }) => id.startsWith(text)) : []
    if (matches.length === 1) return matches[0]
    throw new FluidError(
      'USAGE',
      matches.length > 1 ? `Several offers begin with ${text}` : `This agent publishes no offer ${text}`,
      { hint: 'fluidcloud offers list --own shows what this agent publishes' },
    )
  }

  /** What a version became; throws when nobody took it. */
  function settled(offer: OwnOffer, at: readonly OfferAtBroker[]): OwnOfferReport {
    if (!at.some(({ taken }) => taken)) {
      const [first] = at
      throw new FluidError(first.code ?? 'UNEXPECTED', `No broker took the offer: ${first.message}`, {
        hint: first.hint,
      })
    }
    return reportOf(offer, at)
  }

  async function publish({
    text,
    file,
    brokers,
    signal,
  }: Parameters<OfferPublisher['publish']>[0]): Promise<OwnOfferReport> {
    const stated = parseOfferFile(text)
    const before = [...offers.values()].find((offer) => offer.file === file && !offer.withdrawn)
    if (!before && offers.size >= MAX_OWN_OFFERS)
      throw new FluidError('LIMIT_EXCEEDED', `This agent publishes ${MAX_OWN_OFFERS} offers at most`, {
        hint: 'Take one back with fluidcloud offers withdraw ID',
      })
    const id = before?.id ?? randomBytes(16).toString('hex')
    const next = nextVersion({
      ...(before ?? { id, file, sequence: 0, issuedAtMs: 0, expiresAtMs: 0, withdrawn: false }),
      stated,
      brokers: brokers.length > 0 ? brokers : (before?.brokers ?? []),
    })
    const at = await tell(
      await statedOffer(next),
      next.brokers,
      signal ? AbortSignal.any([signal, closing.signal]) : closing.signal,
    )
    const report = settled(next, at)
    await keep(next)
    schedule(id, stated.leaseMs / 2)
    return report
  }

  async function withdraw({
    offer: text,
    brokers,
    signal,
  }: Parameters<OfferPublisher['withdraw']>[0]): Promise<OwnOfferReport> {
    const before = find(text)
    const taken: OwnOffer = {
      ...before,
      withdrawn: true,
      sequence: before.withdrawn ? before.sequence : before.sequence + 1,
      brokers: brokers.length > 0 ? brokers : before.brokers,
    }
    // Kept first: whatever happens now, it is not renewed any more.
    await keep(taken)
    schedule(taken.id, RENEWAL_RETRY_MS)
    const within = signal ? AbortSignal.any([signal, closing.signal]) : closing.signal
    const at = await tell(await tombstone(taken), taken.brokers, within).catch((error): OfferAtBroker[] => {
      within.throwIfAborted()
      throw new FluidError('PARTIAL', 'The offer is taken back here, and no broker knows yet', {
        cause: error,
        hint: 'The agent goes on telling them; without that it ends with its lease',
      })
    })
    if (at.some((each) => each.taken)) await forget(taken.id)
    return reportOf(taken, at)
  }

  // A restart may have changed addresses, and the lease may be about to end.
  for (const id of offers.keys()) schedule(id, 0)

  return {
    publish,
    withdraw,
    own: () => [...offers.values()],
    [Symbol.asyncDispose]: async () => {
      closing.abort(new FluidError('INTERRUPTED', 'The agent is stopping'))
      for (const timer of timers.values()) clearTimeout(timer)
      await Promise.all(renewing.values())
    },
  }
}

/** How the command line is told of an own offer. */
export function reportOf(
  { id, stated, file, expiresAtMs, withdrawn }: OwnOffer,
  brokers: readonly OfferAtBroker[] = [],
): OwnOfferReport {
  return {
    offer: id,
    provider: stated.provider,
    file,
    expiresAt: new Date(expiresAtMs).toISOString(),
    renewed: !withdrawn,
    brokers,
  }
}

function atBroker(answer: Answer<{ readonly outcome: Outcome; readonly message: string }>): OfferAtBroker {
  const { broker } = answer
  if (answer.error) {
    const { code, message, hint } = answer.error
    return { broker, taken: false, code, message, hint }
  }
  const { outcome, message } = answer.value
  // A replay of what is known already can only be this agent's own doing: another process with its key.
  if (outcome === 'kept' || outcome === 'held') return { broker, taken: true, outcome, message: '' }
  return {
    broker,
    taken: false,
    outcome,
    code: CODES[outcome] ?? 'UNEXPECTED',
    message: message || `The broker found the offer ${outcome}`,
    hint:
      outcome === 'early' || outcome === 'expired'
        ? 'The clock of this machine, or of the broker, is wrong'
        : 'Ask another broker with --broker, or see fluidcloud offers list',
  }
}
