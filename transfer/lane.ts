/** One authenticated byte stream that carries chunk frames; implementations in lanes/, suite in test/conformance/lane.ts. */
import type { MessagePort } from 'node:worker_threads'
import type { LaneMessage } from '../protocol/lane-message.ts'

/** How the bytes of a lane travel. */
export type LanePath = 'tls' | 'libp2p' | 'webrtc' | 'relay'

/** A frame as it arrived. `payload` belongs to the lane and is valid until the next frame is asked for. */
export interface LaneFrame {
  readonly message: LaneMessage
  readonly payload: Uint8Array
  /** Has the lane leave the payload as it is until `done` settles; costs it room for one more, so few at a time. */
  keep?(done: Promise<unknown>): void
}

/** How the frames of a lane are read. */
export interface FramesOptions {
  readonly signal?: AbortSignal
  /** Where in the volume a payload goes, as far as that is known when its header has come: see direct-memory.ts. */
  placeOf?(message: LaneMessage): number | undefined
}

/** A lane belongs to one thread. Writes keep their order. */
export interface Lane extends AsyncDisposable {
  readonly path: LanePath
  /** Bytes this side has put on the network and taken from it, framing and encryption as far as they can be counted (within 2 %). */
  readonly wire: { readonly sentBytes: number; readonly receivedBytes: number }
  /**
   * Milliseconds so far, the present wait included, in which the line did not take frames that were ready (write),
   * and in which the consumer of frames() waited for one (read). Encryption counts as neither.
   */
  readonly waited: { readonly writeMs: number; readonly readMs: number }
  /**
   * Queues a frame. Resolves when the line has taken it; `payload` may be reused from then on, and not before.
   * Call it several times at once to keep the line busy. Throws LANE_FAILED, also when something is owed and no byte
   * moves for LANE_STALL_TIMEOUT_MS; PROTOCOL_VIOLATION when the message breaks a limit; TypeError after end().
   */
  write(message: LaneMessage, payload?: Uint8Array): Promise<void>
  /**
   * Frames in order until the peer ends the lane (returns) or it breaks (throws LANE_FAILED, PROTOCOL_VIOLATION), the
   * frames that came whole first. A peer that is killed, cut off or disposed has not ended its lane. Call once; the
   * signal ends the reading and not the lane. The peer is held back while no frame is asked for.
   */
  frames(options?: FramesOptions): AsyncIterable<LaneFrame>
  /**
   * No more writes: flushes, says so to the peer and half-closes. To lose nothing, read frames() to the peer's end
   * before disposing: what a disposed lane has not read may take along what the peer has not read.
   */
  end(): Promise<void>
  /** What the line does now; call it a few times a second while data moves. Only lanes that can tell have it. */
  observeLine?(): LineState
  /** Milliseconds so far in which the line had bytes to carry; undefined where the system does not tell. */
  busyMs?(): number | undefined
  /** Suits the lane to a line that loses packets, as another lane saw it, or this one. */
  expectLosses?(): void
}

/** A line as one of its lanes sees it. */
export interface LineState {
  /** Packets wait in its queue: more lanes would bring nothing. */
  readonly full: boolean
  /** It loses packets though none wait. */
  readonly loses: boolean
  /** The other end is on this machine, or in this rack. */
  readonly near: boolean
}

/** The key and certificate this side shows on its TLS lanes; made afresh by each agent process. */
export interface LaneIdentity {
  readonly keyPem: string
  readonly certificatePem: string
}

/** What a lane worker needs to open a lane; can be posted to a worker thread. */
export type LaneDescriptor =
  | {
      readonly kind: 'tls-dial'
      readonly host: string
      readonly port: number
      /** A connection there that is made already; the worker owns and closes it. Without one it dials. */
      readonly fd?: number
      /** Who listens there is on this machine: both ends share its cores. */
      readonly sameMachine?: boolean
      /** Names job attempt and lane to the listener: see data listener. */
      readonly serverName: string
      readonly identity: LaneIdentity
      /** DER; the only certificate accepted from the peer. */
      readonly peerCertificate: Uint8Array
    }
  | {
      readonly kind: 'tls-accept'
      /** A duplicate of the accepted socket's descriptor; the worker owns and closes it. */
      readonly fd: number
      /** As for one that dials. */
      readonly sameMachine?: boolean
      /** What was already read from the socket: the TLS ClientHello. */
      readonly head: Uint8Array
      readonly identity: LaneIdentity
      readonly peerCertificate: Uint8Array
    }
  | {
      readonly kind: 'port'
      /** The other end is pumped to and from a libp2p stream by the main thread. */
      readonly port: MessagePort
      readonly path: LanePath
    }
