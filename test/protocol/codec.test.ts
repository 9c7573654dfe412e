import test from 'ava'
import fc from 'fast-check'
import {
  LANE_PREFIX_BYTES,
  decodeLaneHeader,
  encodeLaneHeader,
  parseLanePrefix,
  validateLanePayload,
} from '../../protocol/codec.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import { DATA_FRAME_BYTES, MAX_LANE_HEADER_BYTES, MAX_LANE_PAYLOAD_BYTES } from '../../protocol/limits.ts'
import { fluidcloud } from '../../protocol/pb/chunks.js'
import { laneMessages, payloadOf } from './arbitraries.ts'
import { plain, violates } from './assertions.ts'

const { LaneFrame } = fluidcloud.chunks.v1
type WireFrame = fluidcloud.chunks.v1.LaneFrame.$Properties

test('encodeLaneHeader() round-trips every message through parseLanePrefix() and decodeLaneHeader()', (t) => {
  fc.assert(
    fc.property(laneMessages, (message) => {
      const bytes = encodeLaneHeader(message, payloadOf(message))
      const { headerBytes, payloadBytes } = parseLanePrefix(bytes)
      t.is(headerBytes, bytes.length - LANE_PREFIX_BYTES)
      t.is(payloadBytes, payloadOf(message))
      t.deepEqual(plain(decodeLaneHeader(bytes.subarray(LANE_PREFIX_BYTES))), plain(message))
    }),
  )
})

test('decodeLaneHeader() keeps nothing of the buffer it read', (t) => {
  const token = new Uint8Array(16).fill(7)
  const bytes = encodeLaneHeader({ kind: 'open', token, lane: 0 }, 0).slice(LANE_PREFIX_BYTES)
  const message = decodeLaneHeader(bytes)
  bytes.fill(0)
  t.deepEqual(plain(message), { kind: 'open', token, lane: 0 })
})

const prefix = test.macro((t, header: number, payload: number) => {
  const bytes = Buffer.alloc(LANE_PREFIX_BYTES)
  bytes.writeUInt32LE(header, 0)
  bytes.writeUInt32LE(payload, 4)
  violates(t, () => parseLanePrefix(bytes))
})

test('parseLanePrefix() refuses an empty header', prefix, 0, 10)
test('parseLanePrefix() refuses a header over the limit', prefix, MAX_LANE_HEADER_BYTES + 1, 0)
test('parseLanePrefix() refuses a payload over the limit', prefix, 10, MAX_LANE_PAYLOAD_BYTES + 1)
test('parseLanePrefix() refuses the largest lengths', prefix, 0xffffffff, 0xffffffff)

const refused = test.macro((t, frame: WireFrame) => {
  violates(t, () => decodeLaneHeader(LaneFrame.encode(frame).finish()))
})

const data = { window: 1, first: 0, count: 1, codec: 1, rawBytes: 4096 }
test('decodeLaneHeader() refuses a frame without a message', refused, {})
test('decodeLaneHeader() refuses window 0', refused, { have: { window: 0, start: 0, end: 1 } })
test('decodeLaneHeader() refuses an empty window', refused, { have: { window: 1, start: 4096, end: 4096 } })
test('decodeLaneHeader() refuses a window that runs backwards', refused, {
  have: { window: 1, start: 2, end: 1 },
})
test('decodeLaneHeader() refuses a window past the largest volume', refused, {
  have: { window: 1, start: 0, end: 2 ** 52 + 1 },
})
test('decodeLaneHeader() refuses an offset no number holds', refused, {
  have: { window: 1, start: 2 ** 60, end: 2 ** 61 },
})
test('decodeLaneHeader() refuses an idle share over 1000', refused, {
  want: { window: 1, idlePermille: 1001 },
})
test('decodeLaneHeader() refuses an unspecified codec', refused, { data: { ...data, codec: 0 } })
test('decodeLaneHeader() refuses an unknown codec', refused, { data: { ...data, codec: 3 } })
test('decodeLaneHeader() refuses data of no chunks', refused, { data: { ...data, count: 0 } })
test('decodeLaneHeader() refuses data past the last entry', refused, {
  data: { ...data, first: 1000, count: 25 },
})
test('decodeLaneHeader() refuses fewer bytes than chunks', refused, {
  data: { ...data, count: 5, rawBytes: 4 },
})
test('decodeLaneHeader() refuses a decompression bomb', refused, {
  data: { ...data, codec: 2, rawBytes: DATA_FRAME_BYTES + 1 },
})
test('decodeLaneHeader() refuses a short token', refused, { open: { token: new Uint8Array(15), lane: 0 } })
test('decodeLaneHeader() refuses lane 64', refused, { open: { token: new Uint8Array(16), lane: 64 } })
test('decodeLaneHeader() refuses control characters', refused, { error: { code: 1, message: 'a\u001b[2J' } })

test('decodeLaneHeader() ignores unknown fields', (t) => {
  const bytes = LaneFrame.encode({ want: { window: 3, idlePermille: 9 } }).finish()
  const field99 = Uint8Array.of(0x9a, 0x06, 0x02, 0x01, 0x02)
  t.deepEqual(plain(decodeLaneHeader(Buffer.concat([bytes, field99]))), {
    kind: 'want',
    window: 3,
    idlePermille: 9,
  })
})

const payload = test.macro((t, message: LaneMessage, payloadBytes: number) => {
  violates(t, () => validateLanePayload(message, payloadBytes))
  violates(t, () => encodeLaneHeader(message, payloadBytes))
})

test(
  'validateLanePayload() refuses a broken entry',
  payload,
  { kind: 'have', window: 1, start: 0, end: 9 },
  45,
)
test(
  'validateLanePayload() refuses too many entries',
  payload,
  { kind: 'have', window: 1, start: 0, end: 9 },
  44 * 1025,
)
test(
  'validateLanePayload() refuses a long bitmap',
  payload,
  { kind: 'want', window: 1, idlePermille: 0 },
  129,
)
test(
  'validateLanePayload() refuses long bitmaps where older versions are told',
  payload,
  { kind: 'want', window: 1, idlePermille: 0, based: true },
  257,
)
test('validateLanePayload() refuses half a block checksum', payload, { kind: 'blocks', window: 1 }, 6)
test('validateLanePayload() refuses no block checksums', payload, { kind: 'blocks', window: 1 }, 0)
test(
  'validateLanePayload() refuses more block checksums than a window has blocks',
  payload,
  { kind: 'blocks', window: 1 },
  4 * 2049,
)
test(
  'validateLanePayload() refuses a block bitmap without blocks',
  payload,
  { kind: 'want-blocks', window: 1 },
  0,
)
test('validateLanePayload() refuses a long block bitmap', payload, { kind: 'want-blocks', window: 1 }, 257)
test('validateLanePayload() refuses data without bytes', payload, { kind: 'data', ...data, codec: 'zstd' }, 0)
test(
  'validateLanePayload() refuses raw data of another length',
  payload,
  { kind: 'data', ...data, codec: 'raw' },
  4095,
)
test('validateLanePayload() refuses a payload behind bye', payload, { kind: 'bye' }, 1)
