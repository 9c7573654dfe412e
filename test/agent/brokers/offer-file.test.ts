import test from 'ava'
import fc from 'fast-check'
import { stringify } from 'smol-toml'
import { offerOf, parseOfferFile } from '../../../agent/brokers/offer-file.ts'
import { decodeOffer, encodeOffer } from '../../../protocol/catalog-offer.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { plain } from '../../protocol/assertions.ts'
import { catalogOffer } from '../../protocol/samples.ts'

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
  const offer = offerOf(parseOfferFile(OFFER), { id, peer, sequence, addresses, nowMs, hosted: [] })
  t.deepEqual(plain(offer), plain(catalogOffer))
  t.deepEqual(plain(decodeOffer(encodeOffer(offer))), plain(catalogOffer))
})

test('parseOfferFile() needs no more than a name', (t) => {
  t.deepEqual(parseOfferFile('provider = "Alpine Cloud"'), {
    provider: 'Alpine Cloud',
    place: { region: '', jurisdiction: '' },
    cloud: { kind: '', formats: [], features: [], certifications: [] },
    capacity: { vcpus: 0, memoryBytes: 0, storageBytes: 0, maxVolumeBytes: 0 },
    leaseMs: 3_600_000,
  })
})

test('offerOf() names what the agent hosts, unless the file says otherwise', (t) => {
  const { id, peer, sequence, addresses, issuedAtMs: nowMs, migrators: hosted } = catalogOffer
  const version = { id, peer, sequence, addresses, nowMs, hosted }
  const named = (more: string) => offerOf(parseOfferFile(`provider = "a"\n${more}`), version).migrators
  t.is(hosted.length, 1)
  t.deepEqual(named(''), hosted)
  t.deepEqual(named('migrators = []'), [])
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

test('parseOfferFile() either says what is wrong, or reads what can be published', (t) => {
  const { id, peer, sequence, addresses, issuedAtMs: nowMs } = catalogOffer
  const value = fc.oneof(
    fc.constantFrom<unknown>('raw', 'CH', 'EUR', '4GiB', '1h', '', -1, 0, 0.5, 10 ** 15, true, new Date(0)),
    fc.constantFrom<unknown>(['raw'], [], ['a b'], [1], { x: 1 }, Infinity, NaN, '9999999TiB', '0s'),
  )
  const mostly = (...good: unknown[]) =>
    fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...good) }, { weight: 1, arbitrary: value })
  const table = (keys: Record<string, fc.Arbitrary<unknown>>, requiredKeys: string[] = []) =>
    fc.oneof({ weight: 20, arbitrary: fc.record(keys, { requiredKeys }) }, { weight: 1, arbitrary: value })
  const names = mostly([], ['raw'], ['raw', 'qcow2'])
  const size = mostly('4GiB', '0', '16TiB', '9PB')
  const amount = mostly(0, 0.02, 1, 999_999.999999)
  const kinds = mostly(['disk/raw'], ['a', 'b'])
  const word = mostly('convert', '1.0.0')
  const migrator = table({ name: word, version: word, accepts: kinds, produces: kinds }, [
    'name',
    'version',
    'accepts',
    'produces',
  ])
  const file = fc.record(
    {
      provider: mostly('Alpine Cloud', '\u00fc'.repeat(127)),
      place: table({ region: mostly('ch-gva-2'), jurisdiction: mostly('CH', 'us-ca', 'EU') }),
      cloud: table({ kind: mostly('qemu'), formats: names, features: names, certifications: names }),
      capacity: table({ vcpus: mostly(0, 64), memory: size, storage: size, max_volume: size }),
      price: table({ currency: mostly('EUR', 'usd'), vcpu_hour: amount, egress_gib: amount }, ['currency']),
      lease: mostly('1s', '24h', '1h30m'),
      migrators: fc.array(migrator, { maxLength: 3 }),
    },
    { requiredKeys: ['provider'] },
  )
  let published = 0
  fc.assert(
    fc.property(file, (written) => {
      try {
        const offer = offerOf(parseOfferFile(stringify(written)), {
          id,
          peer,
          sequence,
          addresses,
          nowMs,
          hosted: [],
        })
        encodeOffer(offer)
        published++
      } catch (error) {
        t.is(error instanceof FluidError && error.code, 'CONFIG_INVALID', String(error))
      }
    }),
    { numRuns: 2000 },
  )
  t.true(published > 100)
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
