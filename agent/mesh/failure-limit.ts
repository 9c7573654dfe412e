/** Counts failures of each host over the last minute: the brake on guessing. */

const WINDOW_MS = 60_000
/** Hosts remembered; the oldest is forgotten first. */
const MAX_HOSTS = 4096

export interface FailureLimit {
  fail(host: string): void
  /** True when `host` failed `max` times within the last minute. */
  isReached(host: string): boolean
}

/** A limit of `max` failures a minute for each host. `now` is in ms. */
export function createFailureLimit(options: { max: number; now: () => number }): FailureLimit {
  const { max, now } = options
  const failures = new Map<string, number[]>()
  const recent = (host: string) => (failures.get(host) ?? []).filter((at) => now() - at < WINDOW_MS)
  return {
    fail: (host) => {
      const times = [...recent(host), now()].slice(-max)
      failures.delete(host)
      failures.set(host, times)
      if (failures.size > MAX_HOSTS) failures.delete(failures.keys().next().value!)
    },
    isReached: (host) => recent(host).length >= max,
  }
}
