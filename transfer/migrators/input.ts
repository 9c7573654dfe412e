/** Reading what a Migrator was given, strictly: every key known, every value of its kind. All throw USAGE with the key. */
import { FluidError } from '../../protocol/errors.ts'

/** Gives the value, or throws; `at` names it. */
export type Read<T> = (value: unknown, at: string) => T

type Fields = Readonly<Record<string, Read<unknown>>>
export type Of<R> = R extends Read<infer T> ? T : never
type ObjectOf<F extends Fields> = {
  readonly [K in keyof F as undefined extends Of<F[K]> ? never : K]: Of<F[K]>
} & { readonly [K in keyof F as undefined extends Of<F[K]> ? K : never]?: Of<F[K]> }

/** Says what stands at `at` and what was wanted; the value itself is not told: it may be secret. */
export function wanted(at: string, what: string): FluidError {
  return new FluidError('USAGE', `${at} is not ${what}`, { hint: 'See transfer/migrators/migrators.md' })
}

export function object<F extends Fields>(fields: F): Read<ObjectOf<F>> {
  return (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wanted(at, 'an object')
    for (const key of Object.keys(value))
      if (!Object.hasOwn(fields, key))
        throw new FluidError('USAGE', `${at} has an unknown key ${JSON.stringify(key.slice(0, 64))}`, {
          hint: `Known keys: ${Object.keys(fields).join(', ')}`,
        })
    const got: Record<string, unknown> = {}
    for (const [key, read] of Object.entries(fields)) {
      const field = read((value as Record<string, unknown>)[key], `${at}.${key}`)
      if (field !== undefined) got[key] = field
    }
    return got as ObjectOf<F>
  }
}

export function optional<T>(read: Read<T>): Read<T | undefined> {
  return (value, at) => (value === undefined ? undefined : read(value, at))
}

export function list<T>(read: Read<T>, { least = 0, most = 64 } = {}): Read<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value) || value.length < least || value.length > most)
      throw wanted(at, `a list of ${least} to ${most}`)
    return value.map((each, i) => read(each, `${at}[${i}]`))
  }
}

/** Any keys that `isKey`, each with a value of one kind. */
export function record<T>(
  read: Read<T>,
  isKey: (key: string) => boolean,
  what: string,
): Read<Readonly<Record<string, T>>> {
  return (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wanted(at, 'an object')
    const entries = Object.entries(value)
    if (entries.length > 64) throw wanted(at, 'an object of at most 64 keys')
    return Object.fromEntries(
      entries.map(([key, each]) => {
        if (!isKey(key)) throw wanted(`${at} key ${JSON.stringify(key.slice(0, 64))}`, what)
        return [key, read(each, `${at}.${key}`)]
      }),
    )
  }
}

/** Text that `is` what it should be; on its own, any on one line. */
export function text(is: (value: string) => boolean = isOneLine, what = 'text on one line'): Read<string> {
  return (value, at) => {
    if (typeof value !== 'string' || !is(value)) throw wanted(at, what)
    return value
  }
}

/** No control characters, and at most 4096. */
export function isOneLine(value: string): boolean {
  return value.length <= 4096 && !/[\x00-\x1f\x7f\u2028\u2029]/.test(value) && value.isWellFormed()
}

export function oneOf<const T extends string>(...values: readonly T[]): Read<T> {
  return (value, at) => {
    if (!values.includes(value as T)) throw wanted(at, `one of ${values.join(', ')}`)
    return value as T
  }
}

export function integer(least: number, most: number): Read<number> {
  return (value, at) => {
    if (!Number.isSafeInteger(value) || Number(value) < least || Number(value) > most)
      throw wanted(at, `a whole number from ${least} to ${most}`)
    return Number(value)
  }
}

export const boolean: Read<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw wanted(at, 'true or false')
  return value
}

/** The first of `reads` that takes the value. */
export function either<A, B>(a: Read<A>, b: Read<B>, what: string): Read<A | B> {
  return (value, at) => {
    for (const read of [a, b]) {
      try {
        return read(value, at)
      } catch {
        continue
      }
    }
    throw wanted(at, what)
  }
}
