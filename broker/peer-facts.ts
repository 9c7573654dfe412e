/** What the one who matches knows of a provider beside its offers. A broker knows none of it; an agent may. */

export interface PeerFacts {
  /** Round trip between source and provider. */
  readonly rttMs?: number
  /** Rate at which bytes move from source to provider. */
  readonly bytesPerSecond?: number
  /** How it is reached: true by a relay only. Absent: its addresses decide. */
  readonly relayed?: boolean
  /** Moves to it, by receipts that were verified. */
  readonly outcomes?: { readonly complete: number; readonly failed: number }
}

/** By peer ID. */
export type Facts = ReadonlyMap<string, PeerFacts>

export const NO_FACTS: PeerFacts = {}
