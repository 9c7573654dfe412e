/** Reading TOML tables strictly: every key known, every value of its kind, and an error that says what was wanted. */
import { parse } from 'smol-toml'
import { FluidError } from '../protocol/errors.ts'

/** Says what a reader wanted in place of what it got. */
export class Wanted {
  readonly what: string
  constructor(what: string) {
    this.what = what
  }
}

/** Gives the value of a key, or what it wanted instead. */
export type Reader<T> = (value: unknown) => T | Wanted

/** The table in `text`, which is `what`. Throws CONFIG_INVALID. */
export function parseToml(text: string, what = 'The configuration'): Record<string, unknown> {
  try {
    return parse(text)
  } catch (cause) {
    throw new FluidError('CONFIG_INVALID', `${what} is not valid TOML: ${(cause as Error).message}`, {
      cause,
    })
  }
}

/** `value` through `reader`, or `absent` when there is none; `key` is for the message. Throws CONFIG_INVALID. */
export function readKey<T, D>(value: unknown, key: string, reader: Reader<T>, absent: D): T | D {
  if (value === undefined) return absent
  const got = reader(value)
  if (got instanceof Wanted) throw invalid(`${key} is ${show(value)}, which is not ${got.what}`)
  return got
}

/** The table under [name], with no key but `keys`. Throws CONFIG_INVALID. */
export function readSection<K extends string>(
  value: unknown,
  name: string,
  keys: readonly K[],
): Partial<Record<K, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${name} is not a table: write [${name}]`)
  refuseUnknown(value, keys, `${name}.`)
  return value
}

/** Throws CONFIG_INVALID for the first key of `table` that is not `known`, with the nearest that is. */
export function refuseUnknown(table: object, known: readonly string[], prefix = ''): void {
  for (const key of Object.keys(table)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    throw new FluidError('CONFIG_INVALID', `Unknown key ${prefix}${key}`, {
      hint: near
        ? `Did you mean ${prefix}${near}?`
        : `Known keys: ${known.map((name) => prefix + name).join(', ')}`,
    })
  }
}

/** The one of `known` closest to `word` by edit distance, if close enough to be a slip. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let least = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase().replaceAll('-', '_'), candidate)
    if (distance < least) [least, best] = [distance, candidate]
  }
  return best
}

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]
}

function invalid(message: string): FluidError {
  return new FluidError('CONFIG_INVALID', message)
}

function show(value: unknown): string {
  return (
    JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? String(value)
  )
}
