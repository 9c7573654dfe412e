/** How much each of many peers may ask for: a bucket of tokens that fills at a fixed rate, for as many peers as are remembered. */
import { createTokenBucket, type TokenBucket } from './token-bucket.ts'

export interface Allowance {
  /** Takes `tokens` from what `key` has; false, taking nothing, when it has less. */
  take(key: string, tokens?: number): boolean
  /** Takes `tokens` of what is known only afterwards, also more than `key` has: take() gives nothing until that has filled up. */
  spend(key: string, tokens: number): void
}

/**
 * `burst` tokens for each key at first, and `perSecond` more, up to `burst`. Of more than `maxKeys` keys the one longest
 * unused is forgotten, which gives it a full bucket: bound what all keys together may do as well. Unbounded unless given,
 * for keys that are bounded themselves. `now` is in ms.
 */
export function createAllowance(options: {
  readonly burst: number
  readonly perSecond: number
  readonly maxKeys?: number
  readonly now?: () => number
}): Allowance {
  const { burst, perSecond, maxKeys = Infinity, now } = options
  const buckets = new Map<string, TokenBucket>()

  function bucketOf(key: string): TokenBucket {
    const bucket = buckets.get(key) ?? createTokenBucket({ burst, perSecond }, { now })
    buckets.delete(key)
    buckets.set(key, bucket)
    if (buckets.size > maxKeys) buckets.delete(buckets.keys().next().value!)
    return bucket
  }

  return {
    take: (key, tokens = 1) => bucketOf(key).take(tokens),
    spend: (key, tokens) => bucketOf(key).spend(tokens),
  }
}
