/**
 * Bounds on what a peer can have yamux answer by itself: each ping and each stream that is refused costs a frame, which
 * yamux sends whether the line takes it or not. Whoever sends them and reads nothing would fill the memory, stranger or not.
 */
import type { MessageStream, StreamMuxerFactory } from '@libp2p/interface'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_BARE_FRAMES_UNSENT, YAMUX_PING_BURST, YAMUX_PINGS_PER_SECOND } from '../../protocol/limits.ts'
import { createTokenBucket } from '../../protocol/token-bucket.ts'
import { override } from './override.ts'

/** A frame without data is its header: version, type, flags and so on (https://github.com/hashicorp/yamux/blob/master/spec.md). */
const HEADER_BYTES = 12
const TYPE_AT = 1
const TYPE_PING = 2

/** A muxer whose connections end when their peer has too much answered. */
export function boundedReplies<C>(
  factoryOf: (components: C) => StreamMuxerFactory,
): (components: C) => StreamMuxerFactory {
  return (components) => {
    const factory = factoryOf(components)
    const createStreamMuxer: StreamMuxerFactory['createStreamMuxer'] = (connection) => {
      boundReplies(connection)
      return factory.createStreamMuxer(connection)
    }
    return override(factory, { createStreamMuxer })
  }
}

function boundReplies(connection: MessageStream): void {
  const pings = createTokenBucket({ burst: YAMUX_PING_BURST, perSecond: YAMUX_PINGS_PER_SECOND })
  /** Since the line took something. */
  let unsent = 0
  connection.addEventListener('drain', () => (unsent = 0))

  function tooMuch(header: Uint8Array): string | undefined {
    if (header[TYPE_AT] === TYPE_PING && !pings.take()) return 'The peer pings without end'
    if (!connection.writableNeedsDrain) return undefined
    return ++unsent > MAX_BARE_FRAMES_UNSENT ? 'The peer reads nothing of what it has answered' : undefined
  }

  const send = connection.send.bind(connection)
  connection.send = (data) => {
    const problem = data.byteLength === HEADER_BYTES ? tooMuch(data.subarray()) : undefined
    if (problem === undefined) return send(data)
    connection.abort(new FluidError('LIMIT_EXCEEDED', problem))
    return false
  }
}
