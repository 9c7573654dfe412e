/**
 * Streams that are written to before the peer has said that it speaks their protocol: one round trip less for each.
 *
 * libp2p's interface has `negotiateFully: false` for that, and libp2p 3 does not heed it: newStream() always waits for
 * multistream-select. A muxer may name a stream's protocol itself, though, and then libp2p selects nothing. So a muxer
 * here does so where it is asked to, and selects while the stream is in use already. The peer sees no difference.
 */
import type { CreateStreamOptions, NewStreamOptions, Stream, StreamMuxerFactory } from '@libp2p/interface'
import { select } from '@libp2p/multistream-select'
import { override } from './override.ts'

const selecting = new WeakMap<Stream, Promise<unknown>>()

/** A muxer whose streams may be opened with `negotiateFully: false`; nothing is read from them before negotiated(). */
export function optimistic<C>(
  factoryOf: (components: C) => StreamMuxerFactory,
): (components: C) => StreamMuxerFactory {
  return (components) => {
    const factory = factoryOf(components)
    const createStreamMuxer: StreamMuxerFactory['createStreamMuxer'] = (maConn) => {
      const muxer = factory.createStreamMuxer(maConn)
      const createStream = muxer.createStream.bind(muxer)
      // What newStream() is given it passes on.
      muxer.createStream = async (options: CreateStreamOptions & NewStreamOptions = {}) => {
        const stream = await createStream(options)
        const { protocol, negotiateFully = true, signal } = options
        if (negotiateFully || protocol === undefined) return stream
        const selected = select(stream, protocol, { signal })
        selected.catch((error) => stream.abort(error as Error))
        selecting.set(stream, selected)
        stream.protocol = protocol
        return stream
      }
      return muxer
    }
    return override(factory, { createStreamMuxer })
  }
}

/** Resolves once the peer has said that it speaks the protocol of `stream`; rejects when it does not, or not within the signal it was opened with. */
export async function negotiated(stream: Stream): Promise<void> {
  await selecting.get(stream)
}
