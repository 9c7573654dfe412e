/**
 * Edits of one value in a configuration file: everything else keeps its bytes. Each edit is proven by reading the file
 * before and after: exactly what was asked for differs, or the edit is refused.
 */
import { isDeepStrictEqual } from 'node:util'
import { FluidError } from '../../protocol/errors.ts'

export type Scalar = string | number | boolean
/** A list only where the format has lists. */
export type Value = Scalar | readonly Scalar[]
/** Names from the outside in; a number is a place in a list, or which of several of the same name, from 0. */
export type Key = readonly (string | number)[]

export interface ConfigFormat {
  /** A key as people write it, such as s3.endpoint. */
  parseKey(text: string): Key
  /** Undefined when there is none. Throws GUEST_UNSUPPORTED for what is no value, or for a file it cannot read. */
  get(text: string, key: Key): Value | undefined
  /** With the value replaced, or added where there was none. Throws GUEST_UNSUPPORTED when that cannot be written. */
  set(text: string, key: Key, value: Value): string
  /** All that the text says, for comparing. */
  facts(text: string): unknown
  /** `facts` as they are to be after `key` was set; it may change `facts`. */
  expected(facts: unknown, key: Key, value: Value): unknown
}

/** The text with `value` at `key`. Throws GUEST_UNSUPPORTED when nothing but that cannot be changed. */
export function setProven(format: ConfigFormat, text: string, key: Key, value: Value): string {
  // To parsers, and to JavaScript, that is no name like others.
  if (key.includes('__proto__')) throw unsupported(`${showKey(key)} is no key that can be set`)
  if (isDeepStrictEqual(format.get(text, key), value)) return text
  const edited = format.set(text, key, value)
  const wanted = format.expected(format.facts(text), key, value)
  if (!isDeepStrictEqual(format.facts(edited), wanted))
    throw unsupported(`${showKey(key)} cannot be set without changing something else`)
  return edited
}

export function showKey(key: Key): string {
  return key.join('.')
}

export function unsupported(message: string, cause?: unknown): FluidError {
  return new FluidError('GUEST_UNSUPPORTED', message, { cause })
}

/** `text` with [start, end) replaced. */
export function splice(text: string, start: number, end: number, by: string): string {
  return text.slice(0, start) + by + text.slice(end)
}

/** The one string that formats without types can hold. */
export function asString(value: Value, key: Key): string {
  if (typeof value === 'object') throw unsupported(`${showKey(key)} cannot be a list in this format`)
  return String(value)
}

/** Facts of flat formats: all values of each key, in order. */
export type FlatFacts = Map<string, string[]>

export function flatFacts(
  entries: Iterable<{ readonly key: readonly string[]; readonly value: string }>,
): FlatFacts {
  const facts: FlatFacts = new Map()
  for (const { key, value } of entries) {
    const name = JSON.stringify(key)
    const values = facts.get(name)
    if (values) values.push(value)
    else facts.set(name, [value])
  }
  return facts
}

/** With the value at `at` (default the last) of a key replaced, or added. */
export function flatExpected(
  facts: FlatFacts,
  key: readonly string[],
  value: string,
  at?: number,
): FlatFacts {
  const name = JSON.stringify(key)
  const values = facts.get(name) ?? []
  const place = at ?? Math.max(0, values.length - 1)
  values[place] = value
  return facts.set(name, values)
}

/** Facts of nested formats, with a value at a place. Only what is there by itself is gone into, never what is inherited. */
export function nestedExpected(
  facts: unknown,
  key: Key,
  value: Value,
  prototype: object | null = Object.prototype,
): unknown {
  if (key.length === 0) return value
  const [name, ...rest] = key
  // Some parsers make tables without a prototype: what is added is like what it is added to.
  const root = (facts ?? Object.create(prototype)) as Record<string | number, unknown>
  if (typeof root !== 'object') throw unsupported(`${name} has no place there`)
  const inner = Object.hasOwn(root, name) ? root[name] : undefined
  const wanted = nestedExpected(inner, rest, value, Object.getPrototypeOf(root) as object | null)
  return Object.defineProperty(root, name, {
    value: wanted,
    writable: true,
    enumerable: true,
    configurable: true,
  })
}

/** The value at a place of nested facts. */
export function nestedGet(facts: unknown, key: Key): Value | undefined {
  let at = facts
  for (const name of key) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as Record<string | number, unknown>)[name]
  }
  if (at === undefined || at === null) return undefined
  if (isScalar(at) || (Array.isArray(at) && at.every(isScalar))) return at
  throw unsupported(`${showKey(key)} is no single value`)
}

function isScalar(value: unknown): value is Scalar {
  return ['string', 'number', 'boolean'].includes(typeof value)
}
