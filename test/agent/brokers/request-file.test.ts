import test from 'ava'
import { parseRequestFile } from '../../../agent/brokers/request-file.ts'
import { decodeCatalog, encodeCatalog } from '../../../protocol/catalog-codec.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { plain } from '../../protocol/assertions.ts'
import { matchRequest } from '../../protocol/samples.ts'

const REQUEST = `
need = { vcpus = 2, memory = "4GiB", storage = "20GiB", formats = ["qcow2"], features = ["live"], jurisdiction = ["CH", "EU"], certifications = ["iso27001"], relay = false }
want = { price = 3, egress = 1, move_time = 2, rtt = 1 }
have = { allocated = "6GiB", egress_gib = 0.09 }
`

test('parseRequestFile() reads the request that a broker is asked', (t) => {
  const request = parseRequestFile(REQUEST)
  t.deepEqual(request, matchRequest)
  const query = { kind: 'query', request, limit: 16, failing: 16 } as const
  t.deepEqual(plain(decodeCatalog(encodeCatalog(query))), plain(query))
})

test('parseRequestFile() needs nothing of an empty file, and wants it cheap', (t) => {
  const { need, want, have } = parseRequestFile('')
  t.deepEqual(need, {
    vcpus: 0,
    memoryBytes: 0,
    storageBytes: 0,
    maxVolumeBytes: 0,
    formats: [],
    features: [],
    jurisdictions: [],
    certifications: [],
    direct: false,
  })
  t.deepEqual(want, { price: 1, egress: 0, moveTime: 0, rtt: 0, outcomes: 0 })
  t.deepEqual(have, { allocatedBytes: 0, egressGibMicros: 0, currency: '' })
})

test('parseRequestFile() wants only what is named', (t) => {
  t.like(parseRequestFile('want = { rtt = 0.5, outcomes = 2 }').want, { price: 0, rtt: 0.5, outcomes: 2 })
})

test('parseRequestFile() takes relay = true for no need', (t) => {
  t.false(parseRequestFile('need = { relay = true }').need.direct)
})

test('parseRequestFile() reads the largest volume and the currency', (t) => {
  const request = parseRequestFile('need = { max_volume = "2TiB" }\nhave = { currency = "usd" }')
  t.is(request.need.maxVolumeBytes, 2 * 2 ** 40)
  t.is(request.have.currency, 'USD')
})

const refused = test.macro((t, text: string, message: RegExp, hint: RegExp = /request file/) => {
  const error = t.throws(() => parseRequestFile(text), { instanceOf: FluidError })
  t.is(error?.code, 'CONFIG_INVALID')
  t.regex(error?.message ?? '', message)
  t.regex(error?.hint ?? '', hint)
})

test('parseRequestFile() refuses what is not TOML', refused, 'need', /^The request file is not valid TOML/)
test('parseRequestFile() proposes the nearest table', refused, 'needs = {}', /needs/, /mean need\?/)
test(
  'parseRequestFile() proposes the nearest need',
  refused,
  'need = { jurisdictions = ["CH"] }',
  /need\.jurisdictions/,
  /mean need\.jurisdiction\?/,
)
test(
  'parseRequestFile() proposes the nearest goal',
  refused,
  'want = { movetime = 1 }',
  /movetime/,
  /move_time/,
)
test(
  'parseRequestFile() proposes the nearest fact',
  refused,
  'have = { alocated = "1GiB" }',
  /alocated/,
  /allocated/,
)
test('parseRequestFile() refuses a weight below 0', refused, 'want = { price = -1 }', /want\.price is -1/)
test(
  'parseRequestFile() refuses a weight that is no number',
  refused,
  'want = { price = nan }',
  /want\.price/,
)
test('parseRequestFile() wants a list of places', refused, 'need = { jurisdiction = "CH" }', /a list/)
test('parseRequestFile() wants places it knows', refused, 'need = { jurisdiction = ["Mars"] }', /ISO 3166/)
test('parseRequestFile() wants relay true or false', refused, 'need = { relay = "no" }', /true or false/)
test('parseRequestFile() wants sizes with units', refused, 'have = { allocated = 6 }', /have\.allocated/)
