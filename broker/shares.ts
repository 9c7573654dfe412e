/**
 * Parts of a catalogue that may fill up without taking the rest with them. An identity costs nothing, so a bound on each
 * provider keeps nobody from filling a catalogue; where offers come from does.
 */
import {
  MAX_CATALOG_BYTES,
  MAX_CATALOG_OFFERS,
  MAX_OFFER_BYTES_PER_HOST,
  MAX_OFFERS_PER_HOST,
} from '../protocol/limits.ts'

/** What may be held of what came one way. */
export interface Share {
  readonly name: string
  readonly offers: number
  readonly bytes: number
}

/** Of all that is published from one host. */
export function hostShare(host: string): Share {
  return { name: `host ${host}`, offers: MAX_OFFERS_PER_HOST, bytes: MAX_OFFER_BYTES_PER_HOST }
}

/** Of all that brokers told which the owner did not name: half, so that none of them can keep out what is published here. */
export const STRANGERS: Share = {
  name: 'strangers',
  offers: MAX_CATALOG_OFFERS / 2,
  bytes: MAX_CATALOG_BYTES / 2,
}
