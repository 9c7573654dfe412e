/** The first few of many, in order, without sorting all of them. */

/**
 * What `items.toSorted(compare).slice(0, count)` gives when no two items compare as equal. Most items cost one
 * comparison when `count` is small beside their number.
 */
export function firstOf<T>(items: readonly T[], count: number, compare: (a: T, b: T) => number): T[] {
  if (count <= 0) return []
  if (count * 4 >= items.length) return items.toSorted(compare).slice(0, count)
  const first: T[] = []
  for (const item of items) {
    if (first.length === count && compare(item, first[count - 1]) >= 0) continue
    let [low, high] = [0, first.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compare(first[middle], item) < 0) low = middle + 1
      else high = middle
    }
    if (first.length === count) first.pop()
    first.splice(low, 0, item)
  }
  return first
}
