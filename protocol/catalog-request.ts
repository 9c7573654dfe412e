/** What a service needs, wants and has, to protobuf and back. Spec: catalog.md, Request. */
import type { Have, MatchRequest, Need, Want } from './catalog-message.ts'
import { amountBytes, currency, jurisdiction } from './catalog-offer.ts'
import { integer, list, token, violation } from './field.ts'
import {
  MAX_JURISDICTIONS,
  MAX_LISTED,
  MAX_PRICE_MICROS,
  MAX_QUALITIES,
  MAX_VCPUS,
  MAX_WEIGHT,
} from './limits.ts'
import type { fluidcloud } from './pb/catalog.js'

type Wire = fluidcloud.catalog.v1.Request.$Properties

/** The request as a frame carries it. */
export function writeRequest({ need, want, have }: MatchRequest): Wire {
  return {
    need: {
      ...need,
      formats: [...need.formats],
      features: [...need.features],
      jurisdictions: [...need.jurisdictions],
      certifications: [...need.certifications],
    },
    want,
    have,
  }
}

/** The request in a frame; what is absent is not needed, not wanted, not known. Throws PROTOCOL_VIOLATION. */
export function readRequest({ need, want, have }: Wire): MatchRequest {
  return { need: readNeed(need ?? {}), want: readWant(want ?? {}), have: readHave(have ?? {}) }
}

function readNeed(need: fluidcloud.catalog.v1.Need.$Properties): Need {
  return {
    vcpus: integer('Needed processors', need.vcpus ?? 0, 0, MAX_VCPUS),
    memoryBytes: amountBytes('Needed memory', need.memoryBytes ?? 0),
    storageBytes: amountBytes('Needed storage', need.storageBytes ?? 0),
    maxVolumeBytes: amountBytes('Largest volume', need.maxVolumeBytes ?? 0),
    formats: list('Needed formats', need.formats ?? [], MAX_LISTED, token),
    features: list('Needed features', need.features ?? [], MAX_QUALITIES, token),
    jurisdictions: list('Jurisdictions', need.jurisdictions ?? [], MAX_JURISDICTIONS, jurisdiction),
    certifications: list('Needed certifications', need.certifications ?? [], MAX_QUALITIES, token),
    direct: need.direct ?? false,
  }
}

function readWant(want: fluidcloud.catalog.v1.Want.$Properties): Want {
  return {
    price: weight('price', want.price),
    egress: weight('egress', want.egress),
    moveTime: weight('move time', want.moveTime),
    rtt: weight('round trip', want.rtt),
    outcomes: weight('outcomes', want.outcomes),
  }
}

function readHave(have: fluidcloud.catalog.v1.Have.$Properties): Have {
  return {
    allocatedBytes: amountBytes('Bytes to move', have.allocatedBytes ?? 0),
    egressGibMicros: integer('Price of leaving', have.egressGibMicros ?? 0, 0, MAX_PRICE_MICROS),
    currency: have.currency ? currency('Currency', have.currency) : '',
  }
}

/** Minus zero would not survive the wire, nor does it mean anything. */
function weight(name: string, value: number | null | undefined): number {
  const given = value ?? 0
  if (!(given >= 0 && given <= MAX_WEIGHT)) throw violation(`Weight of ${name} is not 0 to ${MAX_WEIGHT}`)
  return given + 0
}
