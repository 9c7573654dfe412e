/**
 * The fixed newstyle handshake of NBD: structured replies, one metadata context, NBD_OPT_GO.
 * A generator that yields each buffer to be filled from the connection, so that it opens nothing itself.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md, "Fixed newstyle negotiation".
 */
import {
  MAX_NBD_OPTION_BYTES,
  MAX_NBD_REPLIES,
  MAX_VOLUME_BYTES,
  NBD_REQUEST_BYTES,
} from '../../protocol/limits.ts'

/** Yields a buffer, is resumed when it is full. */
export type Filling<T> = Generator<Uint8Array, T, void>

/** What a server said of one of its volumes. */
export interface NbdExport {
  readonly sizeBytes: number
  readonly readOnly: boolean
  readonly canFlush: boolean
  readonly canZero: boolean
  readonly canTrim: boolean
  /** True when a flush on one connection covers writes made on others. */
  readonly shared: boolean
  /** True when replies to reads come in chunks, errors with text and offset. */
  readonly structured: boolean
  /** Id, in replies, of the metadata context that was asked for; undefined when the server has none of that name. */
  readonly contextId: number | undefined
  /** Offsets and lengths of reads and writes are multiples of this. */
  readonly minBlockBytes: number
  readonly maxPayloadBytes: number
}

const OLD_MAGIC = 0x0000_4202_8186_1253n
const NBD_MAGIC = 0x4e42_444d_4147_4943n
const OPTION_MAGIC = 0x4948_4156_454f_5054n
const REPLY_MAGIC = 0x0003_e889_0455_65a9n

const FLAG_FIXED_NEWSTYLE = 1
const FLAG_NO_ZEROES = 2
const OPT_GO = 7
const OPT_STRUCTURED_REPLY = 8
const OPT_SET_META_CONTEXT = 10
const REP_ACK = 1
const REP_INFO = 3
const REP_META_CONTEXT = 4
const REP_ERROR = 0x8000_0000
const INFO_EXPORT = 0
const INFO_BLOCK_SIZE = 3
/** The metadata context that tells holes. */
export const ALLOCATION = 'base:allocation'

/** Names of option errors, by their number without the error bit. */
const OPTION_ERRORS: Record<number, string> = {
  1: 'the server does not know the request',
  2: 'the server does not allow it',
  3: 'the server found the request invalid',
  5: 'the server wants TLS',
  6: 'the server has no such export',
  7: 'the server is shutting down',
  9: 'the server found the request too big',
}

/** An error whose `code` is ENOENT for an unknown export, EPROTO for a server that breaks the protocol. */
export function nbdError(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code })
}

/** Agrees with the server on `exportName` and the metadata `context`. `send` takes what goes out. */
export function* handshake(
  exportName: string,
  context: string,
  send: (bytes: Uint8Array) => void,
): Filling<NbdExport> {
  const hello = Buffer.alloc(16)
  yield hello
  if (hello.readBigUInt64BE(0) !== NBD_MAGIC) throw nbdError('EPROTO', 'The server does not speak NBD')
  if (hello.readBigUInt64BE(8) === OLD_MAGIC)
    throw nbdError('EPROTO', 'The NBD server speaks the old handshake only')
  if (hello.readBigUInt64BE(8) !== OPTION_MAGIC) throw nbdError('EPROTO', 'The server does not speak NBD')
  const flagBytes = Buffer.alloc(2)
  yield flagBytes
  const flags = flagBytes.readUInt16BE(0)
  if (!(flags & FLAG_FIXED_NEWSTYLE))
    throw nbdError('EPROTO', 'The NBD server does not speak the fixed newstyle handshake')
  send(u32(flags & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES)))

  const structured = succeeded(yield* option(OPT_STRUCTURED_REPLY, [], send))
  const name = Buffer.from(exportName)
  const wanted = Buffer.from(context)
  const query = [u32(name.length), name, u32(1), u32(wanted.length), wanted]
  const contexts = structured ? yield* option(OPT_SET_META_CONTEXT, query, send) : []
  const go = yield* option(OPT_GO, [u32(name.length), name, u16(1), u16(INFO_BLOCK_SIZE)], send)
  return { ...exportOf(go), structured, contextId: contextIdOf(contexts, context) }
}

interface OptionReply {
  readonly type: number
  readonly data: Buffer
}

function* option(id: number, parts: Uint8Array[], send: (bytes: Uint8Array) => void): Filling<OptionReply[]> {
  const data = Buffer.concat(parts)
  const head = Buffer.alloc(16)
  head.writeBigUInt64BE(OPTION_MAGIC)
  head.writeUInt32BE(id, 8)
  head.writeUInt32BE(data.length, 12)
  send(Buffer.concat([head, data]))
  const replies: OptionReply[] = []
  while (replies.length < MAX_NBD_REPLIES) {
    const reply = yield* optionReply(id)
    replies.push(reply)
    if (reply.type === REP_ACK || reply.type >= REP_ERROR) return replies
  }
  throw nbdError('EPROTO', `The NBD server never ends its reply to option ${id}`)
}

function* optionReply(id: number): Filling<OptionReply> {
  const head = Buffer.alloc(20)
  yield head
  if (head.readBigUInt64BE(0) !== REPLY_MAGIC)
    throw nbdError('EPROTO', 'The NBD server sent a reply with a wrong magic')
  if (head.readUInt32BE(8) !== id)
    throw nbdError('EPROTO', 'The NBD server answered another option than asked')
  const length = head.readUInt32BE(16)
  if (length > MAX_NBD_OPTION_BYTES)
    throw nbdError('EPROTO', `The NBD server sent an option reply of ${length} bytes`)
  const data = Buffer.alloc(length)
  yield data
  return { type: head.readUInt32BE(12), data }
}

function succeeded(replies: OptionReply[]): boolean {
  return replies.at(-1)?.type === REP_ACK
}

function contextIdOf(replies: OptionReply[], context: string): number | undefined {
  const found = replies.find(
    (reply) => reply.type === REP_META_CONTEXT && reply.data.toString('utf8', 4) === context,
  )
  return succeeded(replies) && found ? found.data.readUInt32BE(0) : undefined
}

function exportOf(replies: OptionReply[]): Omit<NbdExport, 'structured' | 'contextId'> {
  const last = replies.at(-1)
  if (last && last.type >= REP_ERROR) {
    const number = last.type % REP_ERROR
    const said = last.data.length > 0 ? `: ${last.data.toString('utf8').slice(0, 200)}` : ''
    throw nbdError(
      number === 6 ? 'ENOENT' : 'EACCES',
      `The NBD server refused the export: ${OPTION_ERRORS[number] ?? `error ${number}`}${said}`,
    )
  }
  const info = infoOf(replies, INFO_EXPORT, 12)
  if (!info) throw nbdError('EPROTO', 'The NBD server did not say how large its export is')
  const sizeBytes = Number(info.readBigUInt64BE(2))
  if (sizeBytes > MAX_VOLUME_BYTES)
    throw nbdError('EPROTO', `The NBD server says that its export has ${sizeBytes} bytes`)
  const flags = info.readUInt16BE(10)
  const block = infoOf(replies, INFO_BLOCK_SIZE, 14)
  const minBlockBytes = block?.readUInt32BE(2) ?? 1
  const maxPayloadBytes = Math.min(block?.readUInt32BE(10) ?? NBD_REQUEST_BYTES, NBD_REQUEST_BYTES)
  // The specification allows powers of two up to 64 KiB; the volume ends on such a boundary.
  if (
    !isPowerOfTwo(minBlockBytes) ||
    minBlockBytes > 65_536 ||
    maxPayloadBytes < minBlockBytes ||
    sizeBytes % minBlockBytes !== 0
  ) {
    throw nbdError(
      'EPROTO',
      `The NBD server wants blocks of ${minBlockBytes} to ${maxPayloadBytes} bytes in ${sizeBytes}`,
    )
  }
  const has = (bit: number) => (flags & (1 << bit)) !== 0
  return {
    sizeBytes,
    readOnly: has(1),
    canFlush: has(2),
    canTrim: has(5),
    canZero: has(6),
    shared: has(8),
    minBlockBytes,
    maxPayloadBytes: maxPayloadBytes - (maxPayloadBytes % minBlockBytes),
  }
}

function infoOf(replies: OptionReply[], kind: number, lengthBytes: number): Buffer | undefined {
  return replies.find(
    (reply) =>
      reply.type === REP_INFO && reply.data.length === lengthBytes && reply.data.readUInt16BE(0) === kind,
  )?.data
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value))
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
