/**
 * A peer that is properly paired and then speaks as it likes: a bare libp2p node whose viaduct, pairing and lane
 * streams a test writes by hand, with the sound encoders, with unchecked ones, or byte by byte.
 */
import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Connection, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2p } from 'libp2p'
import { decodeControl, encodeControl } from '../../protocol/control-codec.ts'
import type { ControlMessage, ControlMessageOf } from '../../protocol/control-message.ts'
import { createFrameReader, frameControl } from '../../protocol/frame-reader.ts'
import { PAIRING_PROTOCOL } from '../../protocol/ids.ts'
import { LANE_STREAM_BUFFER_BYTES, MAX_CONTROL_FRAME_BYTES } from '../../protocol/limits.ts'
import { decodePairing, encodePairing, type PairingMessage } from '../../protocol/pairing-codec.ts'
import { fluidcloud } from '../../protocol/pb/viaduct.js'
import { parseTicket } from '../../protocol/ticket.ts'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'

export type WireFrame = fluidcloud.viaduct.v1.Frame.$Properties

/** A control stream without rules. */
export interface Talk {
  send(message: ControlMessage): void
  /** A frame that no check of ours has seen. */
  sendUnchecked(frame: WireFrame): void
  sendBytes(bytes: Uint8Array): void
  /** The next message of that kind; others are passed over. Rejects, saying what was heard, when the stream ends first. */
  hear<K extends ControlMessage['kind']>(kind: K): Promise<ControlMessageOf<K>>
  /** Everything that came, in order. */
  readonly heard: readonly ControlMessage[]
  /** Resolves when the other side ended or reset the stream. */
  readonly ended: Promise<void>
  abort(): void
  /** Ends the stream in order. */
  close(): Promise<void>
}

/** Dispose it to stop its node. */
export interface RoguePeer extends AsyncDisposable {
  readonly peerId: string
  readonly node: Libp2p
  readonly laneIdentity: Awaited<ReturnType<typeof createLaneIdentity>>
  sign(bytes: Uint8Array): Promise<Uint8Array>
  /** The connection to the agent; dialed again when it was closed. */
  connect(): Promise<Connection>
  open(protocol: string): Promise<Stream>
  /** One question on a pairing stream; undefined when the stream ends without an answer. */
  ask(question: PairingMessage | Uint8Array): Promise<PairingMessage | undefined>
  redeem(ticket: string): Promise<void>
}

/** A started node that knows the agent at `addr` and is not paired with it. */
export async function startRogue(addr: string): Promise<RoguePeer> {
  const privateKey = await generateKeyPair('Ed25519')
  const node = await createLibp2p({
    privateKey,
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        enableKeepAlive: true,
        maxOutboundStreams: 2048,
        streamOptions: {
          maxStreamWindowSize: 16 * 1024 * 1024,
          maxReadBufferLength: LANE_STREAM_BUFFER_BYTES,
        },
      }),
    ],
    connectionMonitor: { enabled: false },
  })
  const laneIdentity = await createLaneIdentity('rogue')
  const connect = async () => {
    const [open] = node.getConnections().filter(({ status }) => status === 'open')
    return open ?? (await node.dial(multiaddr(addr)))
  }
  const open = async (protocol: string) =>
    (await connect()).newStream(protocol, { maxOutboundStreams: 2048, signal: AbortSignal.timeout(10_000) })
  const ask = async (question: PairingMessage | Uint8Array) => {
    const stream = await open(PAIRING_PROTOCOL)
    const answer = firstFrame(stream)
    stream.send(question instanceof Uint8Array ? question : frameControl(encodePairing(question)))
    const frame = await answer
    await stream.close().catch(() => {})
    return frame && decodePairing(frame)
  }
  return {
    peerId: node.peerId.toString(),
    node,
    laneIdentity,
    sign: async (bytes) => privateKey.sign(bytes),
    connect,
    open,
    ask,
    async redeem(text) {
      const { id, secret } = parseTicket(text)
      const answer = await ask({ kind: 'redeem', ticketId: id, secret, name: 'rogue' })
      if (answer?.kind !== 'paired') throw new Error(`Not paired: ${JSON.stringify(answer)}`)
    },
    [Symbol.asyncDispose]: async () => node.stop(),
  }
}

/** Takes over a stream for talking. */
export function talkOver(stream: Stream): Talk {
  const heard: ControlMessage[] = []
  const reader = createFrameReader(MAX_CONTROL_FRAME_BYTES)
  let taken = 0
  let over = false
  let wake = Promise.withResolvers<void>()
  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  const ended = (async () => {
    try {
      for await (const bytes of stream) {
        for (const body of reader.push(bytes.subarray())) heard.push(decodeControl(body))
        stir()
      }
    } catch {
      // Reset: as over as closed.
    }
    over = true
    stir()
  })()
  const sendBytes = (bytes: Uint8Array) => {
    try {
      stream.send(bytes)
    } catch {
      // The other side has ended it meanwhile, which is what most tests wait for.
    }
  }
  return {
    heard,
    ended,
    sendBytes,
    send: (message) => sendBytes(frameControl(encodeControl(message))),
    sendUnchecked: (frame) => sendBytes(frameControl(fluidcloud.viaduct.v1.Frame.encode(frame).finish())),
    async hear(kind) {
      for (;;) {
        while (taken < heard.length) {
          const message = heard[taken++]
          if (message.kind === kind) return message as never
        }
        if (over) throw new Error(`No ${kind} came, but ${heard.map(inShort).join(', ')}`)
        await wake.promise
      }
    },
    abort: () => stream.abort(new Error('The rogue leaves')),
    close: () => stream.close(),
  }
}

function inShort(message: ControlMessage): string {
  if (message.kind === 'status') return `status ${message.code}: ${message.message}`
  return message.kind === 'refusal'
    ? `refusal ${message.reasons.map((reason) => reason.message).join('; ')}`
    : message.kind
}

async function firstFrame(stream: Stream): Promise<Uint8Array | undefined> {
  const reader = createFrameReader(MAX_CONTROL_FRAME_BYTES)
  try {
    for await (const bytes of stream) {
      const [frame] = reader.push(bytes.subarray())
      if (frame) return frame
    }
  } catch {
    // Reset without an answer.
  }
  return undefined
}
