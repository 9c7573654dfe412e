/** What offer and request files have in common: names, amounts, money, and errors that name the file. */
import { currency, jurisdiction } from '../../protocol/catalog-offer.ts'
import { FluidError } from '../../protocol/errors.ts'
import { isPrintable, token } from '../../protocol/field.ts'
import { MAX_LEASE_MS, MAX_NAME_BYTES, MAX_PRICE_MICROS, MAX_VCPUS } from '../../protocol/limits.ts'
import { amount, integer } from '../toml-readers.ts'
import { type Reader, Wanted } from '../toml-table.ts'
import { parseDuration, parseSize } from '../units.ts'

const MICROS = 1_000_000
/** What a float may be off after it is multiplied: amounts have at most 13 digits before the point here, floats 15. */
const MICROS_TOLERANCE = 0.001

/** Runs `read` over a file and has its errors say where to correct what. Throws CONFIG_INVALID. */
export function correctIn<T>(file: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof FluidError) || error.details.hint !== undefined) throw error
    throw new FluidError(error.code, error.message, {
      ...error.details,
      hint: `Correct it in the ${file}`,
    })
  }
}

/** The error of a key that must be there. */
export function missing(key: string): FluidError {
  return new FluidError('CONFIG_INVALID', `${key} is missing`)
}

export const label: Reader<string> = (value) =>
  typeof value === 'string' &&
  value !== '' &&
  isPrintable(value) &&
  Buffer.byteLength(value) <= MAX_NAME_BYTES
    ? value
    : new Wanted(`a text of 1 to ${MAX_NAME_BYTES} bytes`)

export const name: Reader<string> = checked(token, 'a name of 1 to 64 letters, digits and ._/+-')

/** In capitals, however it is written. */
export const place: Reader<string> = checked(
  (key, value) => jurisdiction(key, value.toUpperCase()),
  'an ISO 3166 code such as "CH" or "US-CA", or "EU"',
)

export const money: Reader<string> = checked(
  (key, value) => currency(key, value.toUpperCase()),
  'an ISO 4217 code such as "EUR"',
)

/** Millionths of an amount of money. */
export const micros: Reader<number> = (value) => {
  const exact = typeof value === 'number' ? value * MICROS : NaN
  const whole = Math.round(exact)
  return Math.abs(exact - whole) < MICROS_TOLERANCE && whole >= 0 && whole <= MAX_PRICE_MICROS
    ? whole
    : new Wanted(`an amount from 0 to ${MAX_PRICE_MICROS / MICROS} with at most six decimals`)
}

export const vcpus: Reader<number> = integer(0, MAX_VCPUS)

export const sizeBytes: Reader<number> = amount(parseSize, 'a quoted size such as "256GiB"')

export const leaseMs: Reader<number> = (value) => {
  const wanted = new Wanted('a quoted duration from "1s" to "24h"')
  const ms = amount(parseDuration, '')(value)
  return typeof ms === 'number' && ms >= 1000 && ms <= MAX_LEASE_MS ? ms : wanted
}

/** What `check` of the protocol lets through. */
function checked(check: (key: string, value: string) => string, what: string): Reader<string> {
  return (value) => {
    try {
      if (typeof value === 'string') return check('value', value)
    } catch (error) {
      if (!(error instanceof FluidError)) throw error
    }
    return new Wanted(what)
  }
}
