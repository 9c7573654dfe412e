/** Offers as a person reads them. */
import type { OfferAtBroker, OfferReport, OwnOfferReport } from '../reports/offer-reports.ts'
import type { Style } from './style.ts'
import { formatFields, formatTable } from './table.ts'
import { printable } from './text.ts'

/** Enough of an offer's id to name it. */
const ID_CHARS = 8

/** `offers list`. */
export function formatOffers(offers: readonly OfferReport[], style: Style, columns?: number): string {
  if (offers.length === 0) return `${style.dim('No offers')}\n`
  return formatTable(
    [
      { title: 'OFFER' },
      { title: 'PROVIDER', flexible: true },
      { title: 'PLACE', flexible: true },
      { title: 'CLOUD' },
      { title: 'UNTIL' },
      { title: 'PEER ID', flexible: true },
    ],
    offers.map((offer) => [
      { text: shortId(offer.offer), paint: style.bold },
      offer.own ? { text: `${offer.provider} (own)`, paint: style.green } : offer.provider,
      placeOf(offer),
      offer.cloud || '-',
      offer.expiresAt,
      offer.peer,
    ]),
    { style, columns },
  )
}

/** `offers list --own`. */
export function formatOwnOffers(offers: readonly OwnOfferReport[], style: Style, columns?: number): string {
  if (offers.length === 0)
    return `${style.dim('This agent publishes nothing; see fluidcloud offers publish')}\n`
  return formatTable(
    [
      { title: 'OFFER' },
      { title: 'PROVIDER', flexible: true },
      { title: 'UNTIL' },
      { title: 'STATE' },
      { title: 'FILE', flexible: true },
    ],
    offers.map(({ offer, provider, expiresAt, renewed, file }) => [
      { text: shortId(offer), paint: style.bold },
      provider,
      expiresAt,
      renewed ? { text: 'renewed', paint: style.green } : { text: 'being taken back', paint: style.yellow },
      file,
    ]),
    { style, columns },
  )
}

/** `offers publish`: the offer, and what each broker said. */
export function formatPublished(
  { offer, provider, expiresAt, brokers }: OwnOfferReport,
  style: Style,
): string {
  const title = `${style.green(style.symbols.ok)} ${style.bold(printable(provider))} is offered\n`
  return `${title}${formatFields(
    [
      ['offer', style.cyan(offer)],
      ['until', `${expiresAt}, and renewed as long as the agent runs`],
      ...brokersOf(brokers, style),
    ],
    style,
  )}`
}

/** `offers withdraw`. */
export function formatWithdrawn({ offer, brokers }: OwnOfferReport, style: Style): string {
  const { symbols } = style
  const title = brokers.some(({ taken }) => taken)
    ? `${style.green(symbols.ok)} Offer ${style.bold(shortId(offer))} is taken back\n`
    : `${style.yellow(symbols.warn)} Offer ${style.bold(shortId(offer))} is taken back here, and no broker knows yet; the agent goes on trying\n`
  return title + formatFields(brokersOf(brokers, style), style)
}

function brokersOf(brokers: readonly OfferAtBroker[], style: Style) {
  return brokers.map(({ broker, taken, code, message }, index) => {
    const said = taken
      ? style.green('has it')
      : `${style.yellow(`did not take it: ${printable(message)}`)} ${style.dim(code ?? '')}`
    return [index === 0 ? 'broker' : '', `${broker} ${said}`] as const
  })
}

/** The region and the jurisdiction it lies in. */
export function placeOf({ region, jurisdiction }: { region: string; jurisdiction: string }): string {
  return [region, jurisdiction].filter(Boolean).join(', ') || '-'
}

export function shortId(offer: string): string {
  return offer.slice(0, ID_CHARS)
}
