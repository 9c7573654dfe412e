/** A TLS lane written by hand: frames with any header, any lengths, any bytes. */
import type { TcpSocketConnectOpts } from 'node:net'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { decodeLaneHeader, LANE_PREFIX_BYTES, parseLanePrefix } from '../../protocol/codec.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import { createRoot, ENTRY_BYTES, writeEntry } from '../../protocol/manifest.ts'
import { fluidcloud } from '../../protocol/pb/chunks.js'
import { digestOf } from '../../transfer/hasher.ts'
import type { LaneIdentity } from '../../transfer/lane.ts'

export type WireLaneFrame = fluidcloud.chunks.v1.LaneFrame.$Properties

/** A lane that says whatever a test writes. Dispose it to cut it. */
export interface RogueLane extends Disposable {
  readonly socket: TLSSocket
  /** A frame that no check of ours has seen; the prefix may lie. */
  write(
    frame: WireLaneFrame,
    payload?: Uint8Array,
    lies?: { headerBytes?: number; payloadBytes?: number },
  ): void
  sendBytes(bytes: Uint8Array): void
  have(window: number, start: number, end: number, entries: Uint8Array): void
  /** Raw data of entries `first` on; `rawBytes` and the payload may be anything. */
  data(
    window: number,
    first: number,
    count: number,
    payload: Uint8Array,
    codec?: 1 | 2,
    rawBytes?: number,
  ): void
  /** The next frame of that kind; rejects when the lane closes first. */
  hear<K extends LaneMessage['kind']>(
    kind: K,
  ): Promise<{ message: Extract<LaneMessage, { kind: K }>; payload: Uint8Array }>
  readonly closed: Promise<void>
}

export interface RogueLaneOptions {
  readonly host?: string
  readonly port: number
  readonly serverName: string
  /** Absent: no certificate is shown. */
  readonly identity?: LaneIdentity
}

/** Connects; resolves when TLS is up on this side, which says nothing about what the other side thinks of it. */
export async function openRogueLane(options: RogueLaneOptions): Promise<RogueLane> {
  const { host = '127.0.0.1', port, serverName, identity } = options
  const request: ConnectionOptions & TcpSocketConnectOpts = {
    host,
    port,
    servername: serverName,
    key: identity?.keyPem,
    cert: identity?.certificatePem,
    minVersion: 'TLSv1.3',
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  }
  const socket = connect(request)
  socket.setNoDelay(true)
  const lane = laneOver(socket)
  await Promise.race([new Promise<void>((resolve) => socket.once('secureConnect', resolve)), lane.closed])
  return lane
}

/** Takes over a TLS socket. */
export function laneOver(socket: TLSSocket): RogueLane {
  const frames: { message: LaneMessage; payload: Uint8Array }[] = []
  let unread = Buffer.alloc(0)
  let over = false
  let wake = Promise.withResolvers<void>()
  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve())).then(() => {
    over = true
    stir()
  })
  socket.on('error', () => {})
  socket.on('end', () => socket.destroy())
  socket.on('data', (bytes) => {
    unread = Buffer.concat([unread, bytes])
    for (let frame = takeFrame(); frame; frame = takeFrame()) frames.push(frame)
    stir()
  })

  function takeFrame() {
    if (unread.length < LANE_PREFIX_BYTES || unread.readBigUInt64LE() === 0n) return undefined
    const { headerBytes, payloadBytes } = parseLanePrefix(unread)
    const payloadAt = LANE_PREFIX_BYTES + headerBytes
    if (unread.length < payloadAt + payloadBytes) return undefined
    const message = decodeLaneHeader(unread.subarray(LANE_PREFIX_BYTES, payloadAt))
    const payload = Uint8Array.from(unread.subarray(payloadAt, payloadAt + payloadBytes))
    unread = unread.subarray(payloadAt + payloadBytes)
    return { message, payload }
  }

  const sendBytes = (bytes: Uint8Array) => void (socket.destroyed || socket.write(bytes))
  const write: RogueLane['write'] = (frame, payload = new Uint8Array(), lies = {}) => {
    const header = fluidcloud.chunks.v1.LaneFrame.encode(frame).finish()
    const prefix = Buffer.alloc(LANE_PREFIX_BYTES)
    prefix.writeUInt32LE(lies.headerBytes ?? header.length, 0)
    prefix.writeUInt32LE(lies.payloadBytes ?? payload.length, 4)
    sendBytes(Buffer.concat([prefix, header, payload]))
  }
  return {
    socket,
    sendBytes,
    write,
    have: (window, start, end, entries) => write({ have: { window, start, end } }, entries),
    data: (window, first, count, payload, codec = 1, rawBytes = payload.length) =>
      write({ data: { window, first, count, codec, rawBytes } }, payload),
    async hear(kind) {
      for (;;) {
        const frame = frames.shift()
        if (frame?.message.kind === kind) return frame as never
        if (frame) continue
        if (over) throw new Error(`The lane closed before it said ${kind}`)
        await wake.promise
      }
    },
    closed,
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

/** Entries as a sender announces them; a chunk may lie about its length or digest. */
export function entriesOf(
  chunks: readonly { offset: number; bytes: Uint8Array; length?: number; digest?: Uint8Array }[],
): Uint8Array {
  const entries = new Uint8Array(chunks.length * ENTRY_BYTES)
  for (const [i, { offset, bytes, length = bytes.length, digest = digestOf(bytes) }] of chunks.entries()) {
    writeEntry(entries, i, offset, length, digest)
  }
  return entries
}

/** The root of a volume with these entries. */
export function rootOf(sizeBytes: number, chunking: string, entries: Uint8Array): Uint8Array {
  const root = createRoot(sizeBytes, chunking)
  root.update(entries)
  return root.digest()
}
