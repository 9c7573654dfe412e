/** Which places lie within which. A wanted EU is met by a member; a wanted DE is not met by a mere EU. */

/** Member states of the European Union since 2020-02-01, by ISO 3166 (https://european-union.europa.eu). */
const EUROPEAN_UNION: ReadonlySet<string> = new Set(
  'AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK'.split(' '),
)

/** True when all of `place` lies within `wanted`: both ISO 3166 codes of a country or a part of one, or EU. */
export function liesWithin(place: string, wanted: string): boolean {
  if (place === wanted) return true
  const country = place.slice(0, 2)
  return wanted === 'EU' ? EUROPEAN_UNION.has(country) : place.length > 2 && country === wanted
}
