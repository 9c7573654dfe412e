/** Readers of values that several kinds of files have, each with the words for what it wanted. */
import { FluidError } from '../protocol/errors.ts'
import { type Reader, Wanted } from './toml-table.ts'

export const boolean: Reader<boolean> = (value) =>
  typeof value === 'boolean' ? value : new Wanted('true or false')

export function integer(min: number, max: number): Reader<number> {
  return (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? (value as number)
      : new Wanted(`a whole number from ${min} to ${max}`)
}

/** A list of at most `most`, each through `one`. */
export function listOf<T>(one: Reader<T>, most: number): Reader<T[]> {
  return (value) => {
    if (!Array.isArray(value) || value.length > most) return new Wanted(`a list of at most ${most}`)
    const items: T[] = []
    for (const item of value) {
      const got = one(item)
      if (got instanceof Wanted) return new Wanted(`a list, of which each is ${got.what}`)
      items.push(got)
    }
    return items
  }
}

/** A quoted amount with its unit, as `parse` of units.ts takes it. */
export function amount(parse: (text: string) => number, what: string): Reader<number> {
  return (value) => {
    try {
      if (typeof value === 'string') return parse(value)
    } catch (error) {
      if (!(error instanceof FluidError)) throw error
    }
    return new Wanted(what)
  }
}
