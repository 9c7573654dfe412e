import test from 'ava'
import fc from 'fast-check'
import { decodeAgreement, encodeAgreement } from '../../protocol/agreement.ts'
import { decodeControl, encodeControl } from '../../protocol/control-codec.ts'
import { MAX_CONTROL_FRAME_BYTES, MAX_RANGES_PER_FRAME, MAX_VOLUME_BYTES } from '../../protocol/limits.ts'
import { fluidcloud } from '../../protocol/pb/viaduct.js'
import { decodeReceipt, encodeReceipt } from '../../protocol/receipt.ts'
import { agreements, controlMessages, receipts } from './arbitraries.ts'
import { plain, violates } from './assertions.ts'

const { Frame } = fluidcloud.viaduct.v1
type WireFrame = fluidcloud.viaduct.v1.Frame.$Properties

test('encodeControl() round-trips every message', (t) => {
  fc.assert(
    fc.property(controlMessages, (message) => {
      t.deepEqual(plain(decodeControl(encodeControl(message))), plain(message))
    }),
    { numRuns: 500 },
  )
})

test('encodeAgreement() round-trips', (t) => {
  fc.assert(
    fc.property(
      agreements,
      (value) => void t.deepEqual(plain(decodeAgreement(encodeAgreement(value))), plain(value)),
    ),
  )
})

test('encodeReceipt() round-trips', (t) => {
  fc.assert(
    fc.property(
      receipts,
      (value) => void t.deepEqual(plain(decodeReceipt(encodeReceipt(value))), plain(value)),
    ),
  )
})

test('encodeControl() fits the largest checkpoint into a control frame', (t) => {
  const ranges = Array.from({ length: MAX_RANGES_PER_FRAME }, (_, i) => ({
    start: MAX_VOLUME_BYTES - 2 * (MAX_RANGES_PER_FRAME - i),
    end: MAX_VOLUME_BYTES - 2 * (MAX_RANGES_PER_FRAME - i) + 1,
  }))
  const bytes = encodeControl({ kind: 'checkpoint', ranges })
  t.true(bytes.length < MAX_CONTROL_FRAME_BYTES)
  violates(t, () => encodeControl({ kind: 'checkpoint', ranges: [{ start: 0, end: 1 }, ...ranges] }))
})

test('encodeControl() makes text for people fit and printable', (t) => {
  const message = decodeControl(
    encodeControl({ kind: 'pause', reason: `disk\nfull ${'ü'.repeat(2000)}\ud800` }),
  )
  t.is(message.kind === 'pause' && message.reason.slice(0, 10), 'disk full ')
  t.true(message.kind === 'pause' && Buffer.byteLength(message.reason) <= 1024)
})

test('decodeControl() keeps nothing of the buffer it read', (t) => {
  const message = { kind: 'verify-request', job: new Uint8Array(16).fill(7), deep: true } as const
  const bytes = encodeControl(message).slice()
  const read = decodeControl(bytes)
  bytes.fill(0)
  t.deepEqual(plain(read), plain(message))
})

test('decodeControl() calls a message of a later minor unknown', (t) => {
  t.deepEqual(decodeControl(Uint8Array.of(0xfa, 0x06, 0x01, 0x00)), { kind: 'unknown' })
})

test('decodeControl() ignores unknown fields', (t) => {
  const bytes = encodeControl({ kind: 'heartbeat', doneBytes: 5 })
  t.deepEqual(plain(decodeControl(Buffer.concat([bytes, Uint8Array.of(0xf8, 0x06, 0x01)]))), {
    kind: 'heartbeat',
    doneBytes: 5,
  })
})

test('decodeControl() maps codes of a later version to UNEXPECTED', (t) => {
  const bytes = Frame.encode({ status: { code: 9999, message: 'new' } }).finish()
  t.deepEqual(plain(decodeControl(bytes)), {
    kind: 'status',
    code: 'UNEXPECTED',
    message: 'new',
    fatal: false,
  })
})

test('decodeControl() reads the hello of an unknown major, whatever else it holds', (t) => {
  const message = decodeControl(Frame.encode({ hello: { major: 2, minor: 3, agent: 'later' } }).finish())
  t.like(message, { kind: 'hello', major: 2, minor: 3, agent: 'later' })
})

const refused = test.macro((t, frame: WireFrame) => {
  violates(t, () => decodeControl(Frame.encode(frame).finish()))
})

const capabilities = { chunkings: ['a'], codecs: ['raw'], lanes: ['tls'], formats: ['raw'], maxLanes: 4 }
const hello = { major: 1, minor: 0, agent: 'x', capabilities }
const offer = {
  job: new Uint8Array(16),
  destination: 'disk.raw',
  sizeBytes: 1,
  targetFormat: 'raw',
  lanes: 1,
  endpoint: { addresses: ['h:1'], token: new Uint8Array(16), certificate: new Uint8Array(9) },
}
const totals = { sentBytes: 0 }

test('decodeControl() refuses major 0', refused, { hello: { ...hello, major: 0 } })
test('decodeControl() refuses a hello without capabilities', refused, {
  hello: { ...hello, capabilities: null },
})
test('decodeControl() refuses 17 codecs', refused, {
  hello: { ...hello, capabilities: { ...capabilities, codecs: Array<string>(17).fill('x') } },
})
test('decodeControl() refuses a codec name with spaces', refused, {
  hello: { ...hello, capabilities: { ...capabilities, codecs: ['z std'] } },
})
test('decodeControl() refuses a long agent', refused, { hello: { ...hello, agent: 'a'.repeat(256) } })
test('decodeControl() counts bytes, not characters', refused, { hello: { ...hello, agent: 'ü'.repeat(128) } })
test('decodeControl() refuses a job id of 15 bytes', refused, {
  offer: { ...offer, job: new Uint8Array(15) },
})
test('decodeControl() refuses an empty destination', refused, { offer: { ...offer, destination: '' } })
test('decodeControl() refuses a destination with a newline', refused, {
  offer: { ...offer, destination: 'a\nb' },
})
test('decodeControl() refuses a destination that reverses text', refused, {
  offer: { ...offer, destination: 'a\u202eb' },
})
test('decodeControl() refuses a volume over the limit', refused, { offer: { ...offer, sizeBytes: 2 ** 53 } })
test('decodeControl() refuses no lanes', refused, { offer: { ...offer, lanes: 0 } })
test('decodeControl() refuses a data address without a port', refused, {
  offer: { ...offer, endpoint: { ...offer.endpoint, addresses: ['host'] } },
})
test('decodeControl() refuses port 65536', refused, {
  offer: { ...offer, endpoint: { ...offer.endpoint, addresses: ['host:65536'] } },
})
test('decodeControl() refuses 17 data addresses', refused, {
  offer: { ...offer, endpoint: { ...offer.endpoint, addresses: Array<string>(17).fill('h:1') } },
})
test('decodeControl() refuses a short token', refused, {
  offer: { ...offer, endpoint: { ...offer.endpoint, token: new Uint8Array(8) } },
})
test('decodeControl() refuses a large certificate', refused, {
  offer: { ...offer, endpoint: { ...offer.endpoint, certificate: new Uint8Array(4097) } },
})
test('decodeControl() refuses an agreement without a body', refused, {
  agreement: { signature: new Uint8Array(64) },
})
test('decodeControl() refuses a signature of 63 bytes', refused, {
  accept: { signature: new Uint8Array(63) },
})
test('decodeControl() refuses a refusal without reasons', refused, { refusal: {} })
test('decodeControl() refuses 17 reasons', refused, {
  refusal: { reasons: Array<object>(17).fill({ code: 4 }) },
})
test('decodeControl() refuses half a range', refused, { checkpoint: { bounds: [1] } })
test('decodeControl() refuses an empty range', refused, { checkpoint: { bounds: [1, 1] } })
test('decodeControl() refuses ranges that overlap', refused, { committed: { bounds: [0, 10, 9, 20] } })
test('decodeControl() refuses ranges in disorder', refused, { checkpoint: { bounds: [30, 40, 10, 20] } })
test('decodeControl() refuses a root of 31 bytes', refused, {
  complete: { root: new Uint8Array(31), totals },
})
test('decodeControl() refuses complete without totals', refused, { complete: { root: new Uint8Array(32) } })
test('decodeControl() refuses a negative time', refused, {
  complete: { root: new Uint8Array(32), totals: { startedAtMs: -1 } },
})
test('decodeControl() refuses terminal escapes in a status', refused, {
  status: { code: 1, message: '\u001b]0;x\u0007' },
})
test('decodeControl() refuses progress past the largest volume', refused, {
  heartbeat: { doneBytes: 2 ** 52 + 1 },
})
