/** Folders whose files the owner calls public: their chunks serve every peer's dedupe. Only the list; not the scanning. */
import { realpath, stat } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import { FluidError } from '../../protocol/errors.ts'
import type { StateStore } from '../state-store.ts'

export interface SeedFolder {
  /** Real path. */
  readonly folder: string
  /** Unix time, ms. */
  readonly addedAt: number
}

export interface SeedFolders {
  /** Adds an existing folder; adding it again changes nothing. Throws USAGE, SOURCE_MISSING. */
  add(folder: string): Promise<SeedFolder>
  /** Throws USAGE when it was not registered. Works when the folder itself is gone. */
  remove(folder: string): Promise<SeedFolder>
  list(): Promise<SeedFolder[]>
}

/** The seed folders kept in `store`. */
export function createSeedFolders(options: { store: StateStore; now?: () => number }): SeedFolders {
  const { store, now = Date.now } = options
  const table = store.table<SeedFolder>('seeds')
  return {
    add: async (folder) => {
      if (!isAbsolute(folder)) throw new FluidError('USAGE', `${folder} is not an absolute path`)
      const found = await stat(folder).catch((cause) => {
        throw new FluidError('SOURCE_MISSING', `${folder} cannot be read`, { cause })
      })
      if (!found.isDirectory()) throw new FluidError('USAGE', `${folder} is not a folder`)
      const real = await realpath(folder)
      const seed = table.get(real) ?? { folder: real, addedAt: now() }
      await table.put(real, seed)
      return seed
    },
    remove: async (folder) => {
      const real = await realpath(folder).catch(() => folder)
      const seed = table.get(real) ?? table.get(folder)
      if (!seed)
        throw new FluidError('USAGE', `${folder} is not a seed folder`, {
          hint: 'List them with fluidcloud policy show',
        })
      await table.del(seed.folder)
      return seed
    },
    list: () => table.all(),
  }
}
