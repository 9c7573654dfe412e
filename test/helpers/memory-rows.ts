/** As much of a `level` as a catalogue asks for, in memory and without its disk: for simulations of many. */
import type { ClassicLevel } from 'classic-level'

interface Change {
  readonly type: 'put' | 'del'
  readonly key: Uint8Array
  readonly value?: Uint8Array
  readonly sublevel: { readonly rows: Map<string, Uint8Array> }
}

/** An empty one. Nothing outlives it. */
export function createMemoryRows(): ClassicLevel<Uint8Array, Uint8Array> {
  const level = {
    sublevel: () => {
      const rows = new Map<string, Uint8Array>()
      return {
        rows,
        open: async () => {},
        async *iterator() {
          for (const [key, value] of rows) yield [Buffer.from(key, 'hex'), value]
        },
      }
    },
    batch: async (changes: readonly Change[]) => {
      for (const { type, key, value, sublevel } of changes) {
        const name = Buffer.from(key).toString('hex')
        if (type === 'put') sublevel.rows.set(name, value!)
        else sublevel.rows.delete(name)
      }
    },
  }
  return level as unknown as ClassicLevel<Uint8Array, Uint8Array>
}
