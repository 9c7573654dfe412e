/**
 * Lane frames on the wire: an 8-byte prefix (header and payload length, u32 LE each), a protobuf header, raw payload.
 *
 * The payload never passes through protobuf: a lane writes it from its own buffer behind what encodeLaneHeader()
 * returns. Spec: chunks.md, Framing. Control frames have their own codec in control-codec.ts.
 */
import { BLOCK_SUM_BYTES } from './blocks.ts'
import { ENTRY_BYTES } from './manifest.ts'
import { MAX_UINT32, decodeMessage, fixedBytes, integer, printable, text, violation } from './field.ts'
import type { Codec, LaneMessage } from './lane-message.ts'
import {
  DATA_FRAME_BYTES,
  MAX_LANES,
  MAX_LANE_HEADER_BYTES,
  MAX_LANE_PAYLOAD_BYTES,
  MAX_TEXT_BYTES,
  MAX_VOLUME_BYTES,
  MAX_WINDOW_BLOCKS,
  MAX_WINDOW_CHUNKS,
  TOKEN_BYTES,
} from './limits.ts'
import { fluidcloud } from './pb/chunks.js'
import protobuf from './protobuf.ts'

const { LaneFrame } = fluidcloud.chunks.v1

const WIRE_CODECS: Readonly<Record<Codec, number>> = { raw: 1, zstd: 2 }

/** Bytes before the header of every lane frame. */
export const LANE_PREFIX_BYTES = 8

/** Lengths announced by a prefix, in bytes. */
export interface LanePrefix {
  readonly headerBytes: number
  readonly payloadBytes: number
}

/** Prefix and header of a frame in one buffer, to be followed by `payloadBytes` of payload; throws PROTOCOL_VIOLATION. */
export function encodeLaneHeader(message: LaneMessage, payloadBytes: number): Uint8Array {
  validateLanePayload(checkLaneMessage(message), payloadBytes)
  const writer = protobuf.Writer.create().fixed32(0).fixed32(payloadBytes)
  const bytes = LaneFrame.encode(toWire(message), writer).finish()
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, bytes.length - LANE_PREFIX_BYTES, true)
  return bytes
}

/** Reads the first LANE_PREFIX_BYTES of `bytes`; throws PROTOCOL_VIOLATION before anything is allocated for the frame. */
export function parseLanePrefix(bytes: Uint8Array): LanePrefix {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    headerBytes: integer('Lane header length', view.getUint32(0, true), 1, MAX_LANE_HEADER_BYTES),
    payloadBytes: integer('Lane payload length', view.getUint32(4, true), 0, MAX_LANE_PAYLOAD_BYTES),
  }
}

/** The message in a header; nothing in it refers to `bytes` afterwards. Throws PROTOCOL_VIOLATION. */
export function decodeLaneHeader(bytes: Uint8Array): LaneMessage {
  const frame = decodeMessage('Lane header', (reader) => LaneFrame.decode(reader), bytes)
  return checkLaneMessage(fromWire(frame))
}

/** Throws PROTOCOL_VIOLATION when a payload of this length cannot belong to the message: ask before reading it. */
export function validateLanePayload(message: LaneMessage, payloadBytes: number): void {
  switch (message.kind) {
    case 'have':
      integer('Chunk list of a window', payloadBytes, 0, MAX_WINDOW_CHUNKS * ENTRY_BYTES)
      if (payloadBytes % ENTRY_BYTES !== 0)
        throw violation(`Chunk list of ${payloadBytes} bytes is not whole entries`)
      return
    case 'want':
      integer('Want bitmap', payloadBytes, 0, (MAX_WINDOW_CHUNKS / 8) * (message.based ? 2 : 1))
      return
    case 'blocks':
      integer('Block checksums', payloadBytes, BLOCK_SUM_BYTES, MAX_WINDOW_BLOCKS * BLOCK_SUM_BYTES)
      if (payloadBytes % BLOCK_SUM_BYTES !== 0)
        throw violation(`Block checksums of ${payloadBytes} bytes are not whole ones`)
      return
    case 'want-blocks':
      integer('Block bitmap', payloadBytes, 1, MAX_WINDOW_BLOCKS / 8)
      return
    case 'data':
      integer('Data payload', payloadBytes, 1, MAX_LANE_PAYLOAD_BYTES)
      if (message.codec === 'raw' && payloadBytes !== message.rawBytes) {
        throw violation(`Raw data frame of ${payloadBytes} bytes announces ${message.rawBytes}`)
      }
      return
    default:
      integer(`Payload of ${message.kind}`, payloadBytes, 0, 0)
  }
}

/** The message itself, every field within its limits. */
function checkLaneMessage(message: LaneMessage): LaneMessage {
  switch (message.kind) {
    case 'open':
      fixedBytes('Lane token', message.token, TOKEN_BYTES)
      integer('Lane number', message.lane, 0, MAX_LANES - 1)
      return message
    case 'have':
      integer('Window number', message.window, 1, MAX_UINT32)
      integer('Window start', message.start, 0, MAX_VOLUME_BYTES)
      integer('Window end', message.end, message.start + 1, MAX_VOLUME_BYTES)
      integer('Unasked entries', message.unasked ?? 0, 0, MAX_WINDOW_CHUNKS)
      return message
    case 'want':
      integer('Window number', message.window, 1, MAX_UINT32)
      integer('Idle share', message.idlePermille, 0, 1000)
      return message
    case 'blocks':
    case 'want-blocks':
      integer('Window number', message.window, 1, MAX_UINT32)
      return message
    case 'data':
      integer('Window number', message.window, 1, MAX_UINT32)
      integer('First entry', message.first, 0, MAX_WINDOW_CHUNKS - 1)
      integer('Entry count', message.count, 1, MAX_WINDOW_CHUNKS - message.first)
      integer('Raw length', message.rawBytes, message.count, DATA_FRAME_BYTES)
      return message
    case 'error':
      integer('Error code', message.code, 0, MAX_UINT32)
      return message
    case 'bye':
      return message
  }
}

function toWire(message: LaneMessage): fluidcloud.chunks.v1.LaneFrame.$Properties {
  switch (message.kind) {
    case 'open':
      return { open: { token: message.token, lane: message.lane } }
    case 'have':
      return {
        have: {
          window: message.window,
          start: message.start,
          end: message.end,
          ...(message.unasked && { unasked: message.unasked }),
        },
      }
    case 'want':
      return {
        want: {
          window: message.window,
          idlePermille: message.idlePermille,
          ...(message.based && { based: true }),
        },
      }
    case 'blocks':
      return { blocks: { window: message.window } }
    case 'want-blocks':
      return { wantBlocks: { window: message.window } }
    case 'data': {
      const { window, first, count, rawBytes } = message
      return { data: { window, first, count, rawBytes, codec: WIRE_CODECS[message.codec] } }
    }
    case 'error':
      return { error: { code: message.code, message: printable(message.message, MAX_TEXT_BYTES) } }
    case 'bye':
      return { bye: {} }
  }
}

function fromWire(frame: fluidcloud.chunks.v1.LaneFrame.$Shape): LaneMessage {
  switch (frame.message) {
    case 'open':
      return { kind: 'open', token: Uint8Array.from(frame.open.token ?? []), lane: frame.open.lane ?? 0 }
    case 'have':
      return {
        kind: 'have',
        window: frame.have.window ?? 0,
        start: frame.have.start ?? 0,
        end: frame.have.end ?? 0,
        ...(frame.have.unasked && { unasked: frame.have.unasked }),
      }
    case 'want':
      return {
        kind: 'want',
        window: frame.want.window ?? 0,
        idlePermille: frame.want.idlePermille ?? 0,
        ...(frame.want.based && { based: true }),
      }
    case 'blocks':
      return { kind: 'blocks', window: frame.blocks.window ?? 0 }
    case 'wantBlocks':
      return { kind: 'want-blocks', window: frame.wantBlocks.window ?? 0 }
    case 'data':
      return {
        kind: 'data',
        window: frame.data.window ?? 0,
        first: frame.data.first ?? 0,
        count: frame.data.count ?? 0,
        codec: codecOf(frame.data.codec ?? 0),
        rawBytes: frame.data.rawBytes ?? 0,
      }
    case 'error': {
      const message = text('Lane error message', frame.error.message ?? '', MAX_TEXT_BYTES)
      return { kind: 'error', code: frame.error.code ?? 0, message }
    }
    case 'bye':
      return { kind: 'bye' }
    default:
      throw violation('Lane frame holds no message known to this version')
  }
}

function codecOf(wire: number): Codec {
  for (const [codec, number] of Object.entries(WIRE_CODECS)) if (number === wire) return codec as Codec
  throw violation(`Codec ${wire} is not known to this version`)
}
