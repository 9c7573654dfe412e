import test from 'ava'
import type { Capabilities, Offer } from '../../protocol/control-message.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { PROTOCOL_MINOR } from '../../protocol/ids.ts'
import { grantedTarget, type Grant } from '../../protocol/grant.ts'
import {
  agreedMinor,
  answerOffer,
  BENCH_DESTINATION,
  type OfferFacts,
  type OfferQuestion,
} from '../../protocol/offer.ts'
import { MAX_BENCH_BYTES } from '../../protocol/limits.ts'
import { encodeAgreement } from '../../protocol/agreement.ts'
import { violates } from './assertions.ts'

const ours: Capabilities = {
  chunkings: ['fastcdc-v1/32768-65536-262144', 'fixed-v1/65536'],
  codecs: ['zstd', 'raw'],
  lanes: ['tls', 'libp2p'],
  formats: ['raw', 'qcow2'],
  maxLanes: 16,
}
const offer: Offer = {
  job: new Uint8Array(16),
  destination: 'disk.raw',
  sizeBytes: 1000,
  allocatedBytes: 500,
  sourceFormat: 'qcow2',
  snapshot: 's',
  targetFormat: 'raw',
  replace: false,
  verifyDeep: false,
  chunkings: ours.chunkings,
  codecs: ours.codecs,
  lanes: 4,
  dryRun: false,
  endpoint: { addresses: [], token: new Uint8Array(16), certificate: new Uint8Array(1) },
  label: 'disk.qcow2',
  compression: 'auto',
}
const facts: OfferFacts = {
  exists: false,
  busy: false,
  freeBytes: 500,
  resumes: false,
  writableFormats: ['raw'],
  now: 1000,
}
const grant: Grant = { folder: '/srv/in', maxBytes: 0, approve: 'auto', targets: {} }
const question: OfferQuestion = {
  offer,
  hello: { major: 1, minor: 7, agent: 'x', capabilities: ours },
  ours,
  grant,
  facts,
  sender: 'A',
  receiver: 'B',
}

interface Change {
  offer?: Partial<Offer>
  hello?: Partial<OfferQuestion['hello']>
  ours?: Partial<Capabilities>
  grant?: Partial<Grant> | null
  facts?: Partial<OfferFacts>
}

function ask(change: Change): ReturnType<typeof answerOffer> {
  return answerOffer({
    ...question,
    offer: { ...offer, ...change.offer },
    hello: { ...question.hello, ...change.hello },
    ours: { ...ours, ...change.ours },
    grant: change.grant === null ? undefined : { ...grant, ...change.grant },
    facts: { ...facts, ...change.facts },
  })
}

test('answerOffer() agrees to what both can do', (t) => {
  const answer = ask({ offer: { codecs: ['lz9', 'raw', 'zstd', 'raw'] } })
  t.is(answer.kind, 'agree')
  if (answer.kind === 'refuse') return
  t.like(answer.agreement, {
    sender: 'A',
    receiver: 'B',
    chunking: 'fastcdc-v1/32768-65536-262144',
    codecs: ['raw', 'zstd'],
    lanes: 4,
    minor: PROTOCOL_MINOR,
    agreedAtMs: 1000,
    freeBytes: 500,
    replacesExisting: false,
  })
  t.notThrows(() => encodeAgreement(answer.agreement))
})

test('answerOffer() takes the chunking that the sender prefers', (t) => {
  const answer = ask({ offer: { chunkings: ['fixed-v1/65536', ...ours.chunkings] } })
  t.is(answer.kind === 'agree' && answer.agreement.chunking, 'fixed-v1/65536')
})

test('answerOffer() takes the chunking that is best here, if it is offered', (t) => {
  const taken = (chunking: string) => {
    const answer = ask({ facts: { chunking } })
    return answer.kind === 'agree' && answer.agreement.chunking
  }
  t.is(taken('fixed-v1/65536'), 'fixed-v1/65536')
  t.is(taken('other-v1/1'), ours.chunkings[0])
})

const lanes = test.macro((t, wanted: number, theirs: number, here: number, agreed: number) => {
  const capabilities = { ...ours, maxLanes: theirs }
  const answer = ask({ offer: { lanes: wanted }, hello: { capabilities }, ours: { maxLanes: here } })
  t.is(answer.kind === 'agree' && answer.agreement.lanes, agreed)
})

test('answerOffer() gives the lanes that are wanted', lanes, 3, 8, 8, 3)
test('answerOffer() gives no more lanes than it has', lanes, 32, 64, 8, 8)
test('answerOffer() gives no more lanes than the sender has', lanes, 32, 5, 8, 5)
test('answerOffer() gives no more than MAX_LANES', lanes, 65_535, 65_535, 65_535, 64)
test('answerOffer() gives one lane at least', lanes, 4, 0, 0, 1)

const most = test.macro((t, wanted: number | undefined, theirs: number, here: number, agreed?: number) => {
  const capabilities = { ...ours, maxLanes: theirs }
  const answer = ask({
    offer: { lanes: 4, mostLanes: wanted },
    hello: { capabilities },
    ours: { maxLanes: here },
  })
  t.is(answer.kind === 'agree' && answer.agreement.mostLanes, agreed)
  t.true(answer.kind === 'agree' && answer.agreement.lanes === Math.min(4, theirs, here))
})

test('answerOffer() lets no lanes be added unless that is offered', most, undefined, 64, 48, undefined)
test('answerOffer() lets lanes be added up to what it has', most, 64, 64, 48, 48)
test('answerOffer() lets lanes be added up to what the sender has', most, 64, 16, 48, 16)
test('answerOffer() lets no more than MAX_LANES be added', most, 65_535, 65_535, 65_535, 64)
test('answerOffer() lets none be added where no more are wanted or can be', most, 4, 64, 48, undefined)
test('answerOffer() lets none be added where it has no more', most, 64, 64, 3, undefined)

const inPlace = test.macro((t, replace: boolean, asked: true | undefined, held?: number, agreed?: true) => {
  const answer = ask({ offer: { replace, inPlace: asked }, facts: { exists: replace, inPlaceBytes: held } })
  t.is(answer.kind === 'agree' && answer.agreement.inPlace, agreed)
})

test('answerOffer() changes a version in place that can be', inPlace, true, true, 4096, true)
test('answerOffer() changes no version in place unasked', inPlace, true, undefined, 4096, undefined)
test(
  'answerOffer() stages beside a version that cannot be changed',
  inPlace,
  true,
  true,
  undefined,
  undefined,
)
test(
  'answerOffer() changes nothing in place that is not to be replaced',
  inPlace,
  false,
  true,
  4096,
  undefined,
)

test('answerOffer() needs no space for what a version in place takes up already', (t) => {
  const offer = { replace: true, inPlace: true, allocatedBytes: 600 } as const
  t.is(ask({ offer, facts: { exists: true, inPlaceBytes: 100 } }).kind, 'agree')
  t.is(ask({ offer, facts: { exists: true, inPlaceBytes: 99 } }).kind, 'refuse')
})

const refused = test.macro((t, change: Change, ...codes: ErrorCode[]) => {
  const answer = ask(change)
  t.deepEqual(answer.kind === 'refuse' && answer.reasons.map(({ code }) => code), codes)
})

test('answerOffer() refuses another major', refused, { hello: { major: 2 } }, 'VERSION_UNSUPPORTED')
test(
  'answerOffer() refuses without a common chunking',
  refused,
  { offer: { chunkings: ['x'] } },
  'VERSION_UNSUPPORTED',
)
test(
  'answerOffer() refuses without a common codec',
  refused,
  { offer: { codecs: [] } },
  'VERSION_UNSUPPORTED',
)
test('answerOffer() refuses without a common lane', refused, { ours: { lanes: ['webrtc'] } }, 'NO_PATH')
test(
  'answerOffer() refuses an offer without an endpoint',
  refused,
  { offer: { endpoint: undefined } },
  'PROTOCOL_VIOLATION',
)
test('answerOffer() refuses without a grant', refused, { grant: null }, 'POLICY_DENIED')
test(
  'answerOffer() refuses a path that leads out',
  refused,
  { offer: { destination: '../a' } },
  'NAME_INVALID',
)
test('answerOffer() refuses more than the grant allows', refused, { grant: { maxBytes: 999 } }, 'TOO_LARGE')
test(
  'answerOffer() refuses where nothing can be written',
  refused,
  { facts: { readOnly: true } },
  'TARGET_WRITE',
)
test('answerOffer() refuses a name that exists', refused, { facts: { exists: true } }, 'NAME_EXISTS')
test('answerOffer() refuses a name that another job writes', refused, { facts: { busy: true } }, 'NAME_BUSY')
test('answerOffer() refuses what does not fit', refused, { facts: { freeBytes: 499 } }, 'NO_SPACE')
test('answerOffer() refuses a device that is too small', refused, { facts: { targetBytes: 999 } }, 'NO_SPACE')
test(
  'answerOffer() refuses a format it cannot write',
  refused,
  { offer: { targetFormat: 'qcow2' } },
  'FORMAT_UNSUPPORTED',
)
test(
  'answerOffer() gives all reasons at once',
  refused,
  {
    offer: { codecs: [], destination: '/etc', targetFormat: 'vhd' },
    grant: { maxBytes: 1 },
    facts: { exists: true, busy: true, freeBytes: 0 },
  },
  'VERSION_UNSUPPORTED',
  'NAME_INVALID',
  'TOO_LARGE',
  'FORMAT_UNSUPPORTED',
  'NAME_EXISTS',
  'NAME_BUSY',
  'NO_SPACE',
)
test(
  'answerOffer() tells a peer without a grant nothing about the target',
  refused,
  { grant: null, offer: { targetFormat: 'vhd' }, facts: { exists: true, busy: true, freeBytes: 0 } },
  'POLICY_DENIED',
)

const answered = test.macro((t, change: Change, kind: 'agree' | 'ask' | 'refuse') =>
  t.is(ask(change).kind, kind),
)

test(
  'answerOffer() agrees to replace when asked to',
  answered,
  { offer: { replace: true }, facts: { exists: true } },
  'agree',
)
test('answerOffer() agrees to any size without a limit', answered, { offer: { sizeBytes: 2 ** 50 } }, 'agree')
test('answerOffer() agrees to exactly the limit', answered, { grant: { maxBytes: 1000 } }, 'agree')
test(
  'answerOffer() agrees to resume on a full disk',
  answered,
  { facts: { resumes: true, freeBytes: 0 } },
  'agree',
)
test(
  'answerOffer() agrees to a device whatever the disk holds',
  answered,
  { facts: { targetBytes: 1000, freeBytes: 0 } },
  'agree',
)
test(
  'answerOffer() agrees to a plan without an endpoint',
  answered,
  { offer: { dryRun: true, endpoint: undefined } },
  'agree',
)
test(
  'answerOffer() agrees to a granted target by any name',
  answered,
  {
    offer: { destination: 'dev:0/../x' },
    grant: { targets: { 'dev:0/../x': '/dev/loop0' } },
  },
  'agree',
)
test('answerOffer() asks when the grant says so', answered, { grant: { approve: 'ask' } }, 'ask')
test('answerOffer() asks once', answered, { grant: { approve: 'ask' }, facts: { approved: true } }, 'agree')
test(
  'answerOffer() refuses before it asks',
  answered,
  { grant: { approve: 'ask' }, facts: { busy: true } },
  'refuse',
)

test('agreedMinor() is the lower of the two', (t) => {
  t.is(agreedMinor({ major: 1, minor: 9 }), PROTOCOL_MINOR)
  t.is(agreedMinor({ major: 1, minor: 0 }), 0)
  violates(t, () => agreedMinor({ major: 2, minor: 0 }), 'VERSION_UNSUPPORTED')
})

test('grantedTarget() does not take inherited properties for targets', (t) => {
  t.is(grantedTarget(grant, 'toString'), undefined)
  t.is(grantedTarget({ ...grant, targets: { data: '/dev/sdb' } }, 'data'), '/dev/sdb')
})

const bench = { bench: true, destination: BENCH_DESTINATION, sizeBytes: MAX_BENCH_BYTES } as const

test('answerOffer() agrees to a benchmark where everything else waits for a person', (t) => {
  const answer = ask({
    offer: bench,
    grant: { approve: 'ask', maxBytes: 1 },
    facts: { freeBytes: 0, exists: true },
  })
  t.is(answer.kind, 'agree')
})

test(
  'answerOffer() refuses a benchmark of a peer without a grant',
  refused,
  { offer: bench, grant: null },
  'POLICY_DENIED',
)
test(
  'answerOffer() refuses a second benchmark',
  refused,
  { offer: bench, facts: { busy: true } },
  'NAME_BUSY',
)
test(
  'answerOffer() refuses a benchmark over the limit',
  refused,
  { offer: { ...bench, sizeBytes: MAX_BENCH_BYTES + 1 } },
  'TOO_LARGE',
)
for (const change of [
  { destination: 'disk.raw' },
  { replace: true },
  { verifyDeep: true },
  { dryRun: true },
]) {
  test(
    `answerOffer() refuses a benchmark with ${JSON.stringify(change)}`,
    refused,
    { offer: { ...bench, ...change } },
    'PROTOCOL_VIOLATION',
  )
}
test(
  'answerOffer() refuses the name of benchmarks to a move, as a receiver that knows none does',
  refused,
  { offer: { destination: BENCH_DESTINATION } },
  'NAME_INVALID',
)
