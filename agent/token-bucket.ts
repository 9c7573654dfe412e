/** A rate with a burst: who asks too often is told no, without a queue. */

export interface TokenBucket {
  /** False when the rate is used up. */
  take(): boolean
}

/** Full at first. `now` in ms. */
export function createTokenBucket(
  { burst, perSecond }: { burst: number; perSecond: number },
  { now = () => performance.now() }: { now?: () => number } = {},
): TokenBucket {
  let tokens = burst
  let at = now()
  return {
    take() {
      const later = now()
      tokens = Math.min(burst, tokens + ((later - at) * perSecond) / 1000)
      at = later
      if (tokens < 1) return false
      tokens--
      return true
    },
  }
}
