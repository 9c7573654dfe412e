/** Counters of what was refused to peers since the agent started, by kind. */

export interface Refusals {
  count(kind: string): void
  /** A copy, by kind. */
  snapshot(): Record<string, number>
}

/** Counters at zero. Kinds are a fixed few words of ours, never a peer's. */
export function createRefusals(): Refusals {
  const counts = new Map<string, number>()
  return {
    count: (kind) => void counts.set(kind, (counts.get(kind) ?? 0) + 1),
    snapshot: () => Object.fromEntries(counts),
  }
}
