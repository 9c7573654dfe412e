/**
 * Replies of an NBD server, read from the wire straight into the buffers that wait for them.
 * Everything a server says is checked: cookie, length, place. A lie ends the connection (EPROTO).
 */
import type { Range } from '../../protocol/extent.ts'
import { MAX_NBD_OPTION_BYTES, MAX_NBD_REPLIES, MAX_NBD_STATUS_BYTES } from '../../protocol/limits.ts'
import { nbdError, type Filling, type NbdExport } from './nbd-handshake.ts'

export const CMD_READ = 0
export const CMD_WRITE = 1
export const CMD_DISC = 2
export const CMD_FLUSH = 3
export const CMD_TRIM = 4
export const CMD_WRITE_ZEROES = 6
export const CMD_BLOCK_STATUS = 7

const SIMPLE_REPLY = 0x6744_6698
const STRUCTURED_REPLY = 0x668e_33ef
const FLAG_DONE = 1
const CHUNK_NONE = 0
const CHUNK_DATA = 1
const CHUNK_HOLE = 2
const CHUNK_STATUS = 5
const CHUNK_ERROR = 0x8000
const CHUNK_ERROR_OFFSET = 0x8002

/** Errors on the wire ("Error values" of the specification). */
const ERRNOS: Record<number, string> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
  108: 'ESHUTDOWN',
}

/** Part of the answer to a block status request. */
export interface NbdStatus {
  readonly length: number
  /** What they mean is the metadata context's to say: see STATUS_ZEROS and STATUS_DIRTY. */
  readonly flags: number
}

/** Of base:allocation: it reads as zeros. */
export const STATUS_ZEROS = 2
/** Of qemu:dirty-bitmap: the bitmap has it. */
export const STATUS_DIRTY = 1

/** A request that waits for its answer. */
export interface Pending {
  readonly command: number
  readonly offset: number
  readonly length: number
  /** Where the payload of a read goes. */
  readonly target?: Uint8Array
  /** What of a read has come, in order of arrival. */
  readonly covered: Range[]
  status?: NbdStatus[]
  failure?: Error
  readonly done: (failure: Error | undefined) => void
}

/** Reads one reply, or one chunk of one, and settles its request when it was the last. */
export function* reply(pending: Map<number, Pending>, volume: NbdExport, heads: ReplyHeads): Filling<void> {
  yield heads.magic
  const magic = heads.magic.readUInt32BE(0)
  if (magic === SIMPLE_REPLY) return yield* simpleReply(pending, volume, heads.simple)
  if (magic === STRUCTURED_REPLY && volume.structured)
    return yield* structuredReply(pending, volume, heads.structured)
  throw nbdError('EPROTO', 'The NBD server sent a reply with a wrong magic')
}

/** Buffers for the fixed part of replies, one set for each connection. */
export interface ReplyHeads {
  readonly magic: Buffer
  readonly simple: Buffer
  readonly structured: Buffer
}

/** Buffers for reply(). */
export function createReplyHeads(): ReplyHeads {
  return { magic: Buffer.alloc(4), simple: Buffer.alloc(12), structured: Buffer.alloc(16) }
}

function* simpleReply(pending: Map<number, Pending>, volume: NbdExport, head: Buffer): Filling<void> {
  yield head
  const errno = head.readUInt32BE(0)
  const { cookie, request } = find(pending, head, 4)
  if (errno !== 0) request.failure = requestError(errno, request.offset)
  else if (request.command === CMD_BLOCK_STATUS || (request.command === CMD_READ && volume.structured)) {
    throw nbdError('EPROTO', 'The NBD server answered with a simple reply where chunks were agreed')
  } else if (request.target) {
    yield request.target
    request.covered.push({ start: 0, end: request.length })
  }
  settle(pending, cookie, request)
}

function* structuredReply(pending: Map<number, Pending>, volume: NbdExport, head: Buffer): Filling<void> {
  yield head
  const done = (head.readUInt16BE(0) & FLAG_DONE) !== 0
  const type = head.readUInt16BE(2)
  const length = head.readUInt32BE(12)
  const { cookie, request } = find(pending, head, 4)
  if (type === CHUNK_NONE) expect(length === 0 && done, 'an empty chunk with a payload')
  else if (type === CHUNK_DATA) yield* dataChunk(request, length)
  else if (type === CHUNK_HOLE) yield* holeChunk(request, length)
  else if (type === CHUNK_STATUS) yield* statusChunk(request, length, volume.contextId)
  else if (type >= CHUNK_ERROR) yield* errorChunk(request, length, type)
  else throw nbdError('EPROTO', `The NBD server sent a chunk of unknown type ${type}`)
  if (done) settle(pending, cookie, request)
}

function* dataChunk(request: Pending, length: number): Filling<void> {
  expect(length > 8, 'a data chunk without data')
  const place = Buffer.alloc(8)
  yield place
  yield cover(request, place.readBigUInt64BE(0), length - 8)
}

function* holeChunk(request: Pending, length: number): Filling<void> {
  expect(length === 12, 'a hole chunk of a wrong length')
  const place = Buffer.alloc(12)
  yield place
  cover(request, place.readBigUInt64BE(0), place.readUInt32BE(8)).fill(0)
}

/** The part of a read's target that a chunk is for. */
function cover(request: Pending, offset: bigint, length: number): Uint8Array {
  const start = Number(offset) - request.offset
  expect(request.target !== undefined, 'data that was not asked for')
  expect(
    start >= 0 && length > 0 && start + length <= request.length,
    'data outside the range that was asked for',
  )
  expect(request.covered.length < MAX_NBD_REPLIES, 'a read in too many pieces')
  request.covered.push({ start, end: start + length })
  return request.target!.subarray(start, start + length)
}

function* statusChunk(request: Pending, length: number, contextId: number | undefined): Filling<void> {
  expect(request.command === CMD_BLOCK_STATUS && !request.status, 'a block status that was not asked for')
  expect(
    length >= 12 && length <= MAX_NBD_STATUS_BYTES && (length - 4) % 8 === 0,
    `a block status of ${length} bytes`,
  )
  const data = Buffer.alloc(length)
  yield data
  expect(data.readUInt32BE(0) === contextId, 'a block status of another context')
  const status: NbdStatus[] = []
  let left = request.length
  for (let at = 4; at < length && left > 0; at += 8) {
    const stretch = Math.min(data.readUInt32BE(at), left)
    expect(stretch > 0, 'an empty extent')
    status.push({ length: stretch, flags: data.readUInt32BE(at + 4) })
    left -= stretch
  }
  request.status = status
}

function* errorChunk(request: Pending, length: number, type: number): Filling<void> {
  expect(length >= 6 && length <= MAX_NBD_OPTION_BYTES, `an error of ${length} bytes`)
  const data = Buffer.alloc(length)
  yield data
  const textEnd = 6 + data.readUInt16BE(4)
  expect(textEnd <= length, 'an error message longer than its chunk')
  const known = type === CHUNK_ERROR_OFFSET && length >= textEnd + 8
  const offset = known ? Number(data.readBigUInt64BE(textEnd)) : request.offset
  request.failure ??= requestError(data.readUInt32BE(0), offset, data.toString('utf8', 6, textEnd))
}

function find(pending: Map<number, Pending>, head: Buffer, at: number): { cookie: number; request: Pending } {
  const cookie = head.readUInt32BE(at) * 2 ** 32 + head.readUInt32BE(at + 4)
  const request = pending.get(cookie)
  if (!request) throw nbdError('EPROTO', 'The NBD server answered a request that was not made')
  return { cookie, request }
}

function settle(pending: Map<number, Pending>, cookie: number, request: Pending): void {
  if (!request.failure && request.command === CMD_READ)
    expect(isWhole(request), 'a read with gaps or overlaps')
  if (!request.failure && request.command === CMD_BLOCK_STATUS)
    expect(request.status !== undefined, 'no block status')
  pending.delete(cookie)
  request.done(request.failure)
}

function isWhole(request: Pending): boolean {
  let end = 0
  for (const range of request.covered.sort((a, b) => a.start - b.start)) {
    if (range.start !== end) return false
    end = range.end
  }
  return end === request.length
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw nbdError('EPROTO', `The NBD server sent ${what}`)
}

function requestError(errno: number, offset: number, text = ''): Error {
  const code = ERRNOS[errno] ?? 'EIO'
  const said = text === '' ? '' : `: ${text.slice(0, 200)}`
  return nbdError(code, `The NBD server answered ${code} at offset ${offset}${said}`)
}
