/**
 * Whether Migrators could bridge what an offer fails only by its disk formats: brokers name the hosts of the shortest
 * chain they know, and it is resolved here again over offers that proved themselves.
 */
import { resolveChain } from '../../broker/chain.ts'
import type { Candidate } from '../../broker/match.ts'
import type { MatchRequest, SignedOffer } from '../../protocol/catalog-message.ts'
import { MAX_CHAINS_ASKED } from '../../protocol/limits.ts'
import type { ChainReport } from '../reports/offer-reports.ts'
import type { BrokerClient, Waits } from './broker-client.ts'

/** What disks of a format are called among Migrators. */
const kindOf = (format: string): string => `disk/${format}`

/** By candidate; for the first MAX_CHAINS_ASKED that fail nothing but their formats. */
export async function findChains(
  { client, brokers }: { readonly client: BrokerClient; readonly brokers: readonly string[] },
  request: MatchRequest,
  candidates: readonly Candidate[],
  waits: Waits = {},
): Promise<ReadonlyMap<Candidate, ChainReport>> {
  const produces = request.need.formats.map(kindOf)
  const bridgeable = candidates.filter(
    ({ offer, failed }) =>
      failed.length === 1 && failed[0].need === 'formats' && offer.cloud.formats.length > 0,
  )
  const asked = bridgeable.slice(0, MAX_CHAINS_ASKED)
  if (asked.length === 0) return new Map()
  const ends = asked.map(({ offer }) => ({
    produces,
    accepts: offer.cloud.formats.map(kindOf),
    preferred: [offer.peer],
  }))
  const answers = await client.askAll(
    brokers,
    async (broker) => {
      const chains: { offers: readonly SignedOffer[]; reason: string }[] = []
      for (const each of ends) chains.push(await broker.resolve(each, waits))
      return chains
    },
    waits,
  )
  const found = new Map<Candidate, ChainReport>()
  for (const [at, candidate] of asked.entries()) {
    const told = answers.flatMap((answer) => (answer.error ? [] : answer.value[at]))
    if (told.length === 0) continue
    const hosts = await client.examine(told.flatMap(({ offers }) => offers))
    const running = hosts.filter(({ withdrawn }) => !withdrawn)
    const names = new Map(running.map((offer) => [`${offer.peer} ${offer.id}`, offer.provider]))
    const { accepts, preferred } = ends[at]
    const chain = resolveChain(produces, accepts, running, new Set(preferred))
    found.set(candidate, {
      steps: (chain.steps ?? []).map((step) => ({
        ...step,
        provider: names.get(`${step.peer} ${step.offer}`) ?? '',
      })),
      // The broker knows more Migrators than those of a chain: its reason says more.
      ...(!chain.steps && { reason: told.find(({ reason }) => reason !== '')?.reason ?? chain.reason }),
    })
  }
  return found
}
