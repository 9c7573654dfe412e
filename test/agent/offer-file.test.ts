import test from 'ava'
import { offerOf, parseOfferFile } from '../../agent/offer-file.ts'
import { decodeOffer, encodeOffer } from '../../protocol/catalog-offer.ts'
import { FluidError } from '../../protocol/errors.ts'
import { plain } from '../protocol/assertions.ts'
import { catalogOffer } from '../protocol/samples.ts'

const OFFER = `
provider = "Alpine Cloud"
place    = { region = "ch-gva-2", jurisdiction = "CH" }
cloud    = { kind = "qemu", formats = ["raw", "qcow2"], features = ["live"], certifications = ["iso27001"] }
capacity = { vcpus = 64, memory = "256GiB", storage = "20TiB", max_volume = "16TiB" }
price    = { currency = "EUR", vcpu_hour = 0.02, memory_gib_hour = 0.003, storage_gib_month = 0.05, egress_gib = 0.01, ingress_gib = 0.0 }
lease    = "1h"
[[migrators]]
name = "convert"
version = "1.0.0"
accepts = ["disk/vmdk", "disk/qcow2"]
produces = ["disk/raw"]
`

test('parseOfferFile() and offerOf() make the offer that is published', (t) => {
  const { id, peer, sequence, addresses, issuedAtMs: nowMs } = catalogOffer
  const offer = offerOf(parseOfferFile(OFFER), { id, peer, sequence, addresses, nowMs })
  t.deepEqual(plain(offer), plain(catalogOffer))
  t.deepEqual(plain(decodeOffer(encodeOffer(offer))), plain(catalogOffer))
})

test('parseOfferFile() needs no more than a name', (t) => {
  t.deepEqual(parseOfferFile('provider = "Alpine Cloud"'), {
    provider: 'Alpine Cloud',
    place: { region: '', jurisdiction: '' },
    cloud: { kind: '', formats: [], features: [], certifications: [] },
    capacity: { vcpus: 0, memoryBytes: 0, storageBytes: 0, maxVolumeBytes: 0 },
    migrators: [],
    leaseMs: 3_600_000,
  })
})

test('parseOfferFile() does not charge an amount that is left out', (t) => {
  const { price } = parseOfferFile('provider = "a"\nprice = { currency = "chf", egress_gib = 0.000001 }')
  t.deepEqual(price, {
    currency: 'CHF',
    vcpuHourMicros: 0,
    memoryGibHourMicros: 0,
    storageGibMonthMicros: 0,
    egressGibMicros: 1,
    ingressGibMicros: 0,
  })
})

test('parseOfferFile() reads tables written out', (t) => {
  t.is(parseOfferFile('provider = "a"\n[place]\njurisdiction = "ch"').place.jurisdiction, 'CH')
})

const refused = test.macro((t, text: string, message: RegExp, hint: RegExp = /offer file/) => {
  const error = t.throws(() => parseOfferFile(text), { instanceOf: FluidError })
  t.is(error?.code, 'CONFIG_INVALID')
  t.is(error?.exit, 2)
  t.regex(error?.message ?? '', message)
  t.regex(error?.hint ?? '', hint)
})
const named = (text: string) => `provider = "a"\n${text}`

test('parseOfferFile() refuses what is not TOML', refused, 'provider =', /^The offer file is not valid TOML/)
test('parseOfferFile() wants a provider', refused, '', /^provider is missing$/)
test('parseOfferFile() proposes the nearest key', refused, 'provder = "a"', /provder/, /mean provider\?/)
test(
  'parseOfferFile() proposes the nearest key of a table',
  refused,
  named('price = { currency = "EUR", vcpu_hours = 1 }'),
  /price\.vcpu_hours/,
  /mean price\.vcpu_hour\?/,
)
test(
  'parseOfferFile() proposes the nearest key of a Migrator',
  refused,
  named('[[migrators]]\nname = "a"\nversions = "1"'),
  /migrators\[0\]\.versions/,
  /mean migrators\[0\]\.version\?/,
)
test(
  'parseOfferFile() lists the keys when none is near',
  refused,
  named('place = { planet = "x" }'),
  /place\.planet/,
  /place\.region, place\.jurisdiction/,
)
test(
  'parseOfferFile() wants sizes with units',
  refused,
  named('capacity = { memory = 4 }'),
  /capacity\.memory is 4.*256GiB/,
)
test('parseOfferFile() wants a country', refused, named('place = { jurisdiction = "Swiss" }'), /ISO 3166/)
test(
  'parseOfferFile() wants a currency',
  refused,
  named('price = { vcpu_hour = 1 }'),
  /price\.currency is missing/,
)
test(
  'parseOfferFile() wants amounts of money',
  refused,
  named('price = { currency = "EUR", egress_gib = -1 }'),
  /six decimals/,
)
test(
  'parseOfferFile() does not round money',
  refused,
  named('price = { currency = "EUR", egress_gib = 0.0000001 }'),
  /six decimals/,
)
test('parseOfferFile() wants a lease of a day at most', refused, named('lease = "25h"'), /"1s" to "24h"/)
test('parseOfferFile() wants a lease of a second at least', refused, named('lease = "10ms"'), /"1s" to "24h"/)
test(
  'parseOfferFile() wants lists of names',
  refused,
  named('cloud = { formats = ["a b"] }'),
  /each is a name/,
)
test('parseOfferFile() wants tables', refused, named('cloud = "qemu"'), /cloud is not a table/)
test(
  'parseOfferFile() wants a list of Migrators',
  refused,
  named('[migrators]\nname = "a"'),
  /\[\[migrators\]\]/,
)
test(
  'parseOfferFile() wants a Migrator to produce something',
  refused,
  named('[[migrators]]\nname = "a"\nversion = "1"\naccepts = ["x"]'),
  /migrators\[0\]\.produces is missing/,
)
test(
  'parseOfferFile() refuses half a processor',
  refused,
  named('capacity = { vcpus = 0.5 }'),
  /whole number/,
)
test('parseOfferFile() refuses a name that hides something', refused, 'provider = "a\\u202eb"', /provider is/)
