/**
 * Places of machines that peers relocate to here. Until a relocation is handed over its disks are moved to them; from then on
 * nobody moves anything there: what was compared, and what a machine runs on, must stay what it is.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { Destination } from '../../transfer/destination.ts'
import type { JobRecord } from './job-record.ts'

/** What one relocation says of its places. */
export interface PlacesClaim {
  /** The granted folder, and names in it. */
  readonly folder: string
  readonly names: readonly string[]
  /** Unix time in ms: of several for one place the newest counts. */
  readonly createdAt: number
  /** False while its disks may be moved there. */
  readonly isHeld: boolean
}

export class HeldPlaces {
  readonly #claims = new Map<string, PlacesClaim>()

  /** Keeps what the relocation of that id claims now; undefined: nothing any more. */
  set(relocation: string, claim: PlacesClaim | undefined): void {
    if (claim) this.#claims.set(relocation, claim)
    else this.#claims.delete(relocation)
  }

  has(target: Destination | undefined): boolean {
    if (target?.kind !== 'file') return false
    const { folder, name } = target
    const claims = [...this.#claims.values()].filter(
      (claim) => claim.folder === folder && claim.names.includes(name),
    )
    return claims.toSorted((a, b) => b.createdAt - a.createdAt)[0]?.isHeld ?? false
  }

  /** Throws NAME_BUSY when the job may not write to its target. */
  requireFree({ target, destination }: JobRecord): void {
    if (this.has(target))
      throw new FluidError('NAME_BUSY', `Destination ${destination} is a disk of a machine that arrived`, {
        refused: true,
      })
  }
}
