/** request.toml: what a service needs and wants of a place to move to, and what its source knows. */
import type { MatchRequest } from '../../protocol/catalog-message.ts'
import { MAX_JURISDICTIONS, MAX_LISTED, MAX_QUALITIES, MAX_WEIGHT } from '../../protocol/limits.ts'
import { correctIn, micros, money, name, place, sizeBytes, vcpus } from './catalog-toml.ts'
import { listOf } from '../toml-readers.ts'
import { parseToml, type Reader, readKey as read, readSection, refuseUnknown, Wanted } from '../toml-table.ts'

const TOP_KEYS = ['need', 'want', 'have'] as const
const NEED_KEYS = [
  'vcpus',
  'memory',
  'storage',
  'max_volume',
  'formats',
  'features',
  'jurisdiction',
  'certifications',
  'relay',
] as const
const WANT_KEYS = ['price', 'egress', 'move_time', 'rtt', 'outcomes'] as const
const HAVE_KEYS = ['allocated', 'egress_gib', 'currency'] as const

/** What counts when a request does not say what it wants. */
const DEFAULT_WANT = { price: 1 } as const

/** The request in `text` (TOML). Unknown keys are refused with the nearest known one. Throws CONFIG_INVALID. */
export function parseRequestFile(text: string): MatchRequest {
  return correctIn('request file', () => readRequest(parseToml(text, 'The request file')))
}

/** The request in the tables need, want and have. Throws CONFIG_INVALID. */
export function readRequest(table: Record<string, unknown>): MatchRequest {
  refuseUnknown(table, TOP_KEYS)
  const need = readSection(table.need ?? {}, 'need', NEED_KEYS)
  const want = readSection(table.want ?? DEFAULT_WANT, 'want', WANT_KEYS)
  const have = readSection(table.have ?? {}, 'have', HAVE_KEYS)
  const weightOf = (key: (typeof WANT_KEYS)[number]) => read(want[key], `want.${key}`, weight, 0)
  return {
    need: {
      vcpus: read(need.vcpus, 'need.vcpus', vcpus, 0),
      memoryBytes: read(need.memory, 'need.memory', sizeBytes, 0),
      storageBytes: read(need.storage, 'need.storage', sizeBytes, 0),
      maxVolumeBytes: read(need.max_volume, 'need.max_volume', sizeBytes, 0),
      formats: read(need.formats, 'need.formats', listOf(name, MAX_LISTED), []),
      features: read(need.features, 'need.features', listOf(name, MAX_QUALITIES), []),
      jurisdictions: read(need.jurisdiction, 'need.jurisdiction', listOf(place, MAX_JURISDICTIONS), []),
      certifications: read(need.certifications, 'need.certifications', listOf(name, MAX_QUALITIES), []),
      direct: !read(need.relay, 'need.relay', boolean, true),
    },
    want: {
      price: weightOf('price'),
      egress: weightOf('egress'),
      moveTime: weightOf('move_time'),
      rtt: weightOf('rtt'),
      outcomes: weightOf('outcomes'),
    },
    have: {
      allocatedBytes: read(have.allocated, 'have.allocated', sizeBytes, 0),
      egressGibMicros: read(have.egress_gib, 'have.egress_gib', micros, 0),
      currency: read(have.currency, 'have.currency', money, ''),
    },
  }
}

const boolean: Reader<boolean> = (value) => (typeof value === 'boolean' ? value : new Wanted('true or false'))

const weight: Reader<number> = (value) =>
  typeof value === 'number' && value >= 0 && value <= MAX_WEIGHT
    ? value
    : new Wanted(`a weight from 0 to ${MAX_WEIGHT}`)
