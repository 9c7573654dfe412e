/**
 * As much of a state database as a journal asks for, in memory: for jobs of which nothing may stay. Keys are compared
 * as bytes; nothing survives the process.
 */
import { FluidError } from '../protocol/errors.ts'
import type { StateLevel } from './chunk-index.ts'

interface Bounds {
  readonly gte?: Uint8Array
  readonly lt?: Uint8Array
  readonly lte?: Uint8Array
  readonly reverse?: boolean
  readonly limit?: number
}

type Row = [key: Uint8Array, value: Uint8Array]

/**
 * An empty database. Of StateLevel it has what Journal calls: batch(), iterator() and clear(). `grow` is asked for room for
 * what is written; a write throws LIMIT_EXCEEDED, and changes nothing, when there is none.
 */
export function createMemoryLevel(grow: (bytes: number) => boolean = () => true): StateLevel {
  const rows = new Map<string, Row>()

  function select({ gte, lt, lte, reverse = false, limit = Infinity }: Bounds): Row[] {
    const found = [...rows.values()].filter(
      ([key]) =>
        (!gte || Buffer.compare(key, gte) >= 0) &&
        (!lt || Buffer.compare(key, lt) < 0) &&
        (!lte || Buffer.compare(key, lte) <= 0),
    )
    found.sort(([a], [b]) => Buffer.compare(a, b) * (reverse ? -1 : 1))
    return found.slice(0, limit)
  }

  const level = {
    batch() {
      const changes: (() => void)[] = []
      let bytes = 0
      const batch = {
        put(key: Uint8Array, value: Uint8Array) {
          bytes += key.length + value.length
          changes.push(() => rows.set(nameOf(key), [key, value]))
          return batch
        },
        del(key: Uint8Array) {
          changes.push(() => rows.delete(nameOf(key)))
          return batch
        },
        async write() {
          if (!grow(bytes))
            throw new FluidError(
              'LIMIT_EXCEEDED',
              `There is no room in memory for ${bytes} bytes more of a journal`,
            )
          for (const change of changes) change()
        },
      }
      return batch
    },
    iterator: (bounds: Bounds) => ({
      all: async () => select(bounds),
      async *[Symbol.asyncIterator]() {
        yield* select(bounds)
      },
    }),
    async clear(bounds: Bounds) {
      for (const [key] of select(bounds)) rows.delete(nameOf(key))
    },
  }
  return level as unknown as StateLevel
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')
}
