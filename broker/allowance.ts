/** How much each of many peers may ask for: a bucket of tokens that fills at a fixed rate, for as many peers as are remembered. */

export interface Allowance {
  /** Takes `tokens` from what `key` has; false, taking nothing, when it has less. */
  take(key: string, tokens?: number): boolean
}

/**
 * `burst` tokens for each key at first, and `perSecond` more, up to `burst`. Of more than `maxKeys` keys the one longest
 * unused is forgotten, which gives it a full bucket: bound what all keys together may do as well. `now` is in ms.
 */
export function createAllowance(options: {
  readonly burst: number
  readonly perSecond: number
  readonly maxKeys: number
  readonly now?: () => number
}): Allowance {
  const { burst, perSecond, maxKeys, now = () => performance.now() } = options
  const buckets = new Map<string, { tokens: number; at: number }>()
  return {
    take(key, tokens = 1) {
      const at = now()
      const before = buckets.get(key)
      const have = before ? Math.min(burst, before.tokens + ((at - before.at) / 1000) * perSecond) : burst
      const isEnough = have >= tokens
      buckets.delete(key)
      buckets.set(key, { tokens: isEnough ? have - tokens : have, at })
      if (buckets.size > maxKeys) buckets.delete(buckets.keys().next().value!)
      return isEnough
    },
  }
}
