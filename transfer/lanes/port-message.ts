/** What crosses the MessagePort between a lane worker and the thread that owns its libp2p stream; the same in both directions. */
import type { ErrorCode } from '../../protocol/errors.ts'

/**
 * `bytes` are transferred; the side that gets them answers with `taken` as it hands them on, and the side that
 * sends keeps at most LANE_PORT_CREDIT_BYTES untaken. After `end` come no more bytes; the pump answers `ended`
 * when the stream is half-closed. `failed` is the last message: errors lose their class on the way.
 */
export type PortMessage =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'taken'; readonly bytes: number }
  | { readonly kind: 'end' }
  | { readonly kind: 'ended' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
