/** Offers and requests for tests of matching, with the parts under test put in. */
import type { MatchRequest, MigratorSpec, Need, Offer, Want } from '../../protocol/catalog-message.ts'

const PEER = '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq'

const NO_NEED: Need = {
  vcpus: 0,
  memoryBytes: 0,
  storageBytes: 0,
  maxVolumeBytes: 0,
  formats: [],
  features: [],
  jurisdictions: [],
  certifications: [],
  direct: false,
}

const NO_WANT: Want = { price: 0, egress: 0, moveTime: 0, rtt: 0, outcomes: 0 }

/** An id whose order is that of `number`. */
export function offerId(number: number): string {
  return number.toString(16).padStart(32, '0')
}

/** A plain offer in Switzerland, at 10 a month for each GiB stored and for nothing else. */
export function offerWith(parts: Partial<Offer> = {}): Offer {
  return {
    id: offerId(1),
    peer: PEER,
    sequence: 1,
    issuedAtMs: 1000,
    expiresAtMs: 2000,
    withdrawn: false,
    provider: 'Alpine Cloud',
    place: { region: 'ch-gva-2', jurisdiction: 'CH' },
    cloud: { kind: 'qemu', formats: ['raw'], features: ['live'], certifications: ['iso27001'] },
    capacity: { vcpus: 8, memoryBytes: 2 ** 34, storageBytes: 2 ** 40, maxVolumeBytes: 0 },
    price: priceWith({ storageGibMonthMicros: 10_000_000 }),
    migrators: [],
    addresses: ['/ip4/192.0.2.7/tcp/4001'],
    ...parts,
  }
}

export function priceWith(parts: Partial<NonNullable<Offer['price']>> = {}): NonNullable<Offer['price']> {
  return {
    currency: 'EUR',
    vcpuHourMicros: 0,
    memoryGibHourMicros: 0,
    storageGibMonthMicros: 0,
    egressGibMicros: 0,
    ingressGibMicros: 0,
    ...parts,
  }
}

/** A request for nothing but these. */
export function requestWith(
  parts: {
    need?: Partial<Need>
    want?: Partial<Want>
    have?: Partial<MatchRequest['have']>
  } = {},
): MatchRequest {
  return {
    need: { ...NO_NEED, ...parts.need },
    want: { ...NO_WANT, ...parts.want },
    have: { allocatedBytes: 0, egressGibMicros: 0, currency: '', ...parts.have },
  }
}

/** A Migrator that makes `produces` out of `accepts`, which are lists of words. */
export function migratorOf(accepts: string, produces: string, name = 'convert'): MigratorSpec {
  return { name, version: '1.0.0', accepts: accepts.split(' '), produces: produces.split(' ') }
}
