/** offer.toml: what an owner offers, without what only the agent knows: who it is, since when, and where it is reached. */
import type { MigratorSpec, Offer, Price } from '../../protocol/catalog-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import { DEFAULT_LEASE_MS, MAX_LISTED, MAX_MIGRATORS, MAX_QUALITIES } from '../../protocol/limits.ts'
import {
  correctIn,
  label,
  leaseMs,
  micros,
  missing,
  money,
  name,
  place,
  sizeBytes,
  vcpus,
} from './catalog-toml.ts'
import { listOf } from '../toml-readers.ts'
import { parseToml, readKey as read, readSection, refuseUnknown } from '../toml-table.ts'

/** What the file says; everything but `provider` may be left out. */
export interface OfferFile extends Pick<Offer, 'provider' | 'place' | 'cloud' | 'capacity' | 'price'> {
  /** Undefined: those that the agent hosts. */
  readonly migrators?: readonly MigratorSpec[]
  /** How long it holds unless it is renewed. */
  readonly leaseMs: number
}

/** One version of an offer, as the agent knows it. */
export interface OfferVersion extends Pick<Offer, 'id' | 'peer' | 'sequence' | 'addresses'> {
  readonly nowMs: number
  /** What is named when the file names no Migrators. */
  readonly hosted: readonly MigratorSpec[]
}

const TOP_KEYS = ['provider', 'place', 'cloud', 'capacity', 'price', 'lease', 'migrators'] as const
const PLACE_KEYS = ['region', 'jurisdiction'] as const
const CLOUD_KEYS = ['kind', 'formats', 'features', 'certifications'] as const
const CAPACITY_KEYS = ['vcpus', 'memory', 'storage', 'max_volume'] as const
const PRICE_KEYS = [
  'currency',
  'vcpu_hour',
  'memory_gib_hour',
  'storage_gib_month',
  'egress_gib',
  'ingress_gib',
] as const
const MIGRATOR_KEYS = ['name', 'version', 'accepts', 'produces'] as const

/** The offer in `text` (TOML). Unknown keys are refused with the nearest known one. Throws CONFIG_INVALID. */
export function parseOfferFile(text: string): OfferFile {
  return correctIn('offer file', () => readOffer(parseToml(text, 'The offer file')))
}

/** The offer as it is signed and published: what the file says, and which version of it this is. */
export function offerOf(
  { leaseMs: lease, migrators, ...stated }: OfferFile,
  { nowMs, addresses, hosted, ...head }: OfferVersion,
): Offer {
  return {
    ...head,
    issuedAtMs: nowMs,
    expiresAtMs: nowMs + lease,
    withdrawn: false,
    ...stated,
    migrators: migrators ?? hosted.slice(0, MAX_MIGRATORS),
    addresses,
  }
}

function readOffer(table: Record<string, unknown>): OfferFile {
  refuseUnknown(table, TOP_KEYS)
  const where = readSection(table.place ?? {}, 'place', PLACE_KEYS)
  const cloud = readSection(table.cloud ?? {}, 'cloud', CLOUD_KEYS)
  const capacity = readSection(table.capacity ?? {}, 'capacity', CAPACITY_KEYS)
  const provider = read(table.provider, 'provider', label, undefined)
  if (provider === undefined) throw missing('provider')
  return {
    provider,
    place: {
      region: read(where.region, 'place.region', label, ''),
      jurisdiction: read(where.jurisdiction, 'place.jurisdiction', place, ''),
    },
    cloud: {
      kind: read(cloud.kind, 'cloud.kind', name, ''),
      formats: read(cloud.formats, 'cloud.formats', listOf(name, MAX_LISTED), []),
      features: read(cloud.features, 'cloud.features', listOf(name, MAX_QUALITIES), []),
      certifications: read(cloud.certifications, 'cloud.certifications', listOf(name, MAX_QUALITIES), []),
    },
    capacity: {
      vcpus: read(capacity.vcpus, 'capacity.vcpus', vcpus, 0),
      memoryBytes: read(capacity.memory, 'capacity.memory', sizeBytes, 0),
      storageBytes: read(capacity.storage, 'capacity.storage', sizeBytes, 0),
      maxVolumeBytes: read(capacity.max_volume, 'capacity.max_volume', sizeBytes, 0),
    },
    ...(table.price !== undefined && { price: readPrice(table.price) }),
    ...(table.migrators !== undefined && { migrators: readMigrators(table.migrators) }),
    leaseMs: read(table.lease, 'lease', leaseMs, DEFAULT_LEASE_MS),
  }
}

/** An amount that is left out is not charged. */
function readPrice(value: unknown): Price {
  const price = readSection(value, 'price', PRICE_KEYS)
  const currency = read(price.currency, 'price.currency', money, undefined)
  if (currency === undefined) throw missing('price.currency')
  const amount = (key: (typeof PRICE_KEYS)[number]) => read(price[key], `price.${key}`, micros, 0)
  return {
    currency,
    vcpuHourMicros: amount('vcpu_hour'),
    memoryGibHourMicros: amount('memory_gib_hour'),
    storageGibMonthMicros: amount('storage_gib_month'),
    egressGibMicros: amount('egress_gib'),
    ingressGibMicros: amount('ingress_gib'),
  }
}

function readMigrators(value: unknown): MigratorSpec[] {
  if (!Array.isArray(value) || value.length > MAX_MIGRATORS)
    throw new FluidError(
      'CONFIG_INVALID',
      `migrators is not a list of at most ${MAX_MIGRATORS} tables: write [[migrators]]`,
    )
  return value.map((each: unknown, i) => {
    const at = `migrators[${i}]`
    const migrator = readSection(each, at, MIGRATOR_KEYS)
    const word = (key: 'name' | 'version') => {
      const got = read(migrator[key], `${at}.${key}`, name, undefined)
      if (got === undefined) throw missing(`${at}.${key}`)
      return got
    }
    const words = (key: 'accepts' | 'produces') => {
      const got = read(migrator[key], `${at}.${key}`, listOf(name, MAX_LISTED), [])
      if (got.length === 0) throw missing(`${at}.${key}`)
      return got
    }
    return {
      name: word('name'),
      version: word('version'),
      accepts: words('accepts'),
      produces: words('produces'),
    }
  })
}
