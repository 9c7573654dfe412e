/** A rate with a burst: who asks too often is told no, without a queue. */

export interface TokenBucket {
  /** Takes so many tokens, one unless told; false, taking nothing, when there are fewer. */
  take(tokens?: number): boolean
  /** Takes so many, also such as are not there yet: none are given until what is owed has filled up. */
  spend(tokens: number): void
}

/** Full at first. `now` in ms. */
export function createTokenBucket(
  { burst, perSecond }: { burst: number; perSecond: number },
  { now = () => performance.now() }: { now?: () => number } = {},
): TokenBucket {
  let left = burst
  let at = now()

  function fill(): void {
    const later = now()
    left = Math.min(burst, left + ((later - at) * perSecond) / 1000)
    at = later
  }

  return {
    take(tokens = 1) {
      fill()
      if (left < tokens) return false
      left -= tokens
      return true
    },
    spend(tokens) {
      fill()
      left -= tokens
    },
  }
}
