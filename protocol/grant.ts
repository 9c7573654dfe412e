/** What the owner of an agent allows one paired peer to do there. */

import type { RelocateGrant } from './relocate-grant.ts'

/** Written by the owner alone; a peer is told only its summary (pairing.md, Paired). */
export interface Grant {
  /** The folder that destination names lie in: an absolute path. */
  readonly folder: string
  /** Largest volume in bytes; 0: no limit but the disk. */
  readonly maxBytes: number
  /** `ask`: every new job waits for a person. */
  readonly approve: 'auto' | 'ask'
  /** Names that stand for a device or an export, which need not lie in the folder. */
  readonly targets: Readonly<Record<string, string>>
  /** Services that may be relocated to this agent; undefined: none. */
  readonly relocate?: RelocateGrant
}

/** The device or export that `name` stands for, if the grant opens one under it. */
export function grantedTarget(grant: Grant, name: string): string | undefined {
  return Object.hasOwn(grant.targets, name) ? grant.targets[name] : undefined
}
