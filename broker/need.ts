/** The hard constraints of a request: what each asks, what an offer says to it, and whether that is enough. Pure. */
import type { Need, Offer } from '../protocol/catalog-message.ts'
import { liesWithin } from './jurisdiction.ts'
import type { PeerFacts } from './peer-facts.ts'

/** As request.toml names them. */
export type NeedName =
  | 'vcpus'
  | 'memory'
  | 'storage'
  | 'max_volume'
  | 'formats'
  | 'features'
  | 'jurisdiction'
  | 'certifications'
  | 'relay'

/** Sizes are bytes; null: the offer does not tell. */
export type NeedValue = number | boolean | string | readonly string[] | null

/** A constraint beside what the offer says to it. */
export interface NeedResult {
  readonly need: NeedName
  readonly wanted: NeedValue
  readonly offered: NeedValue
  readonly met: boolean
}

/** One constraint of one request, ready to be asked of many offers. */
export interface NeedCheck {
  readonly need: NeedName
  readonly wanted: NeedValue
  readonly offered: (offer: Offer, facts: PeerFacts) => NeedValue
  readonly met: (offer: Offer, facts: PeerFacts) => boolean
}

/** The constraints that `need` really has, always in the same order. */
export function checksOf(need: Need): NeedCheck[] {
  const { vcpus, memoryBytes, storageBytes, maxVolumeBytes } = need
  const { formats, features, jurisdictions, certifications } = need
  const checks: NeedCheck[] = []
  if (vcpus > 0) checks.push(atLeast('vcpus', vcpus, ({ capacity }) => capacity.vcpus))
  if (memoryBytes > 0) checks.push(atLeast('memory', memoryBytes, ({ capacity }) => capacity.memoryBytes))
  if (storageBytes > 0) checks.push(atLeast('storage', storageBytes, ({ capacity }) => capacity.storageBytes))
  if (maxVolumeBytes > 0) checks.push(atLeast('max_volume', maxVolumeBytes, largestVolume))
  if (formats.length > 0)
    checks.push({
      need: 'formats',
      wanted: formats,
      offered: ({ cloud }) => cloud.formats,
      met: ({ cloud }) => formats.some((format) => cloud.formats.includes(format)),
    })
  if (features.length > 0) checks.push(allOf('features', features, ({ cloud }) => cloud.features))
  if (jurisdictions.length > 0)
    checks.push({
      need: 'jurisdiction',
      wanted: jurisdictions,
      offered: ({ place }) => place.jurisdiction || null,
      met: ({ place }) => jurisdictions.some((wanted) => liesWithin(place.jurisdiction, wanted)),
    })
  if (certifications.length > 0)
    checks.push(allOf('certifications', certifications, ({ cloud }) => cloud.certifications))
  if (need.direct)
    checks.push({
      need: 'relay',
      wanted: false,
      offered: needsRelay,
      met: (offer, facts) => needsRelay(offer, facts) === false,
    })
  return checks
}

function atLeast(need: NeedName, wanted: number, offered: (offer: Offer) => number): NeedCheck {
  return { need, wanted, offered, met: (offer) => offered(offer) >= wanted }
}

function allOf(
  need: NeedName,
  wanted: readonly string[],
  offered: (offer: Offer) => readonly string[],
): NeedCheck {
  return {
    need,
    wanted,
    offered,
    met: (offer) => wanted.every((quality) => offered(offer).includes(quality)),
  }
}

function largestVolume({ capacity }: Offer): number {
  return capacity.maxVolumeBytes || capacity.storageBytes
}

/** Whether the provider is reached by a relay only: as it was found, else by its addresses; null without any. */
function needsRelay({ addresses }: Offer, { relayed }: PeerFacts): boolean | null {
  if (relayed !== undefined) return relayed
  return addresses.length === 0 ? null : addresses.every((address) => address.includes('/p2p-circuit'))
}
