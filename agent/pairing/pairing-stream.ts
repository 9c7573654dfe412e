/** One question and one answer on a pairing stream; pairing.md, Sequence. The dialer half-closes once it has kept the answer. */
import type { Connection, Stream } from '@libp2p/interface'
import { FluidError } from '../../protocol/errors.ts'
import { createFrameReader, frameControl } from '../../protocol/frame-reader.ts'
import { PAIRING_PROTOCOL } from '../../protocol/ids.ts'
import { MAX_PAIRING_FRAME_BYTES, PAIRING_TIMEOUT_MS } from '../../protocol/limits.ts'
import { decodePairing, encodePairing, type PairingMessage } from '../../protocol/pairing-codec.ts'

/** A pairing stream over `connection`, for ask(). Throws PEER_UNREACHABLE. */
export async function openStream(connection: Connection, signal: AbortSignal): Promise<Stream> {
  const options = { signal: withDeadline(signal), runOnLimitedConnection: true }
  return connection.newStream(PAIRING_PROTOCOL, options).catch((cause) => {
    signal.throwIfAborted()
    throw new FluidError('PEER_UNREACHABLE', 'The peer does not answer to pairing', { cause })
  })
}

/**
 * Sends `question` and gives the answer to `keep`, whose result it returns. The stream ends when `keep` is done: that
 * tells the other side. Throws TIMEOUT, PEER_UNREACHABLE, PROTOCOL_VIOLATION, and what `keep` throws.
 */
export async function ask<T>(
  stream: Stream,
  question: PairingMessage,
  keep: (answer: PairingMessage) => Promise<T>,
  options: { signal: AbortSignal },
): Promise<T> {
  const signal = withDeadline(options.signal)
  try {
    sendQuestion(stream, question)
    const kept = await keep(await readMessage(stream, signal))
    await stream.close({ signal }).catch(() => {})
    return kept
  } catch (error) {
    stream.abort(error as Error)
    options.signal.throwIfAborted()
    throw error
  }
}

/** Reads the question of `stream`, and sends what `answer` makes of it; resolves when the other side has kept it or is gone. */
export async function serve(
  stream: Stream,
  answer: (question: PairingMessage) => Promise<PairingMessage>,
  options: { signal: AbortSignal },
): Promise<void> {
  const signal = withDeadline(options.signal)
  // What is sent behind the question is not read: it must not pile up.
  stream.maxReadBufferLength = MAX_PAIRING_FRAME_BYTES * 4
  try {
    const reply = await answer(await readMessage(stream, signal))
    stream.send(frameControl(encodePairing(reply)))
    await remoteEnd(stream, signal)
    await stream.close({ signal })
  } catch (error) {
    stream.abort(error as Error)
    throw error
  }
}

/** Throws PEER_UNREACHABLE when the other side has ended the stream: it expects nobody. */
function sendQuestion(stream: Stream, question: PairingMessage): void {
  const frame = frameControl(encodePairing(question))
  try {
    stream.send(frame)
  } catch (cause) {
    throw new FluidError('PEER_UNREACHABLE', 'The peer ended the pairing stream without a word', { cause })
  }
}

function readMessage(stream: Stream, signal: AbortSignal): Promise<PairingMessage> {
  const reader = createFrameReader(MAX_PAIRING_FRAME_BYTES)
  const { promise, resolve, reject } = Promise.withResolvers<PairingMessage>()
  const listening = new AbortController()
  const until = { signal: listening.signal }
  stream.addEventListener(
    'message',
    ({ data }) => {
      try {
        const [frame] = reader.push(data.subarray())
        if (frame) resolve(decodePairing(frame))
      } catch (error) {
        reject(error)
      }
    },
    until,
  )
  const ended = () =>
    reject(new FluidError('PEER_UNREACHABLE', 'The peer ended the pairing stream without a word'))
  stream.addEventListener('close', ended, until)
  stream.addEventListener('end', ended, until)
  signal.addEventListener('abort', () => reject(timedOut(signal)), until)
  if (signal.aborted) reject(timedOut(signal))
  return promise.finally(() => listening.abort())
}

/** Resolves when the other side sends no more, or is gone; whether the answer was kept is then its own knowledge. */
function remoteEnd(stream: Stream, signal: AbortSignal): Promise<void> {
  if (stream.status !== 'open' || stream.remoteWriteStatus !== 'writable') return Promise.resolve()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const listening = new AbortController()
  const until = { signal: listening.signal }
  stream.addEventListener('remoteCloseWrite', () => resolve(), until)
  stream.addEventListener('close', () => resolve(), until)
  signal.addEventListener('abort', () => reject(timedOut(signal)), until)
  return promise.finally(() => listening.abort())
}

function withDeadline(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(PAIRING_TIMEOUT_MS)])
}

function timedOut(signal: AbortSignal): FluidError {
  return new FluidError('TIMEOUT', `Pairing was not finished within ${PAIRING_TIMEOUT_MS} ms`, {
    cause: signal.reason,
  })
}
