/**
 * Agents of one kind host the same Migrators and speak of their clouds in the same words, which is most of what an offer
 * says. A catalogue holds such parts once, whoever names them.
 */
import type { Offer } from '../protocol/catalog-message.ts'

/** Of the parts that are known, as text; when there would be more, all are forgotten and known again as they come. */
const MOST_CHARS = 4 * 1024 * 1024

/** Gives the same offer, with parts in common with those it was called with before. */
export function createPartSharing(mostChars: number = MOST_CHARS): (offer: Offer) => Offer {
  const known = new Map<string, unknown>()
  let chars = 0

  function once<Part>(part: Part): Part {
    const text = JSON.stringify(part)
    const before = known.get(text)
    if (before !== undefined) return before as Part
    if (chars + text.length > mostChars) {
      known.clear()
      chars = 0
    }
    known.set(text, part)
    chars += text.length
    return part
  }

  return (offer) => ({
    ...offer,
    place: once(offer.place),
    cloud: once(offer.cloud),
    migrators: once(offer.migrators),
  })
}
