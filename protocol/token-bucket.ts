/** A rate with a burst: who asks too often is told no, without a queue. */

export interface TokenBucket {
  /** Takes so many tokens, one unless told; false, taking nothing, when there are fewer. */
  take(tokens?: number): boolean
}

/** Full at first. `now` in ms. */
export function createTokenBucket(
  { burst, perSecond }: { burst: number; perSecond: number },
  { now = () => performance.now() }: { now?: () => number } = {},
): TokenBucket {
  let left = burst
  let at = now()
  return {
    take(tokens = 1) {
      const later = now()
      left = Math.min(burst, left + ((later - at) * perSecond) / 1000)
      at = later
      if (left < tokens) return false
      left -= tokens
      return true
    },
  }
}
