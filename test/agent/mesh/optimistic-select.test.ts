import type { Stream, StreamMuxer } from '@libp2p/interface'
import { handle } from '@libp2p/multistream-select'
import { multiaddrConnectionPair } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import test, { type ExecutionContext } from 'ava'
import { negotiated, optimistic } from '../../../agent/mesh/optimistic-select.ts'

const PROTOCOL = '/test/1'
const MESSAGE = new TextEncoder().encode('said at once')

/** A muxer that may be optimistic, and what opens at the other end of its line. */
function open(t: ExecutionContext): { muxer: StreamMuxer; incoming: Promise<Stream> } {
  const [near, far] = multiaddrConnectionPair()
  const muxer = optimistic(yamux())(undefined).createStreamMuxer(near)
  const peer = yamux()().createStreamMuxer(far)
  const incoming = new Promise<Stream>((resolve) =>
    peer.addEventListener('stream', ({ detail }) => resolve(detail)),
  )
  t.teardown(() => [muxer, peer].forEach((side) => side.abort(new Error('The test is over'))))
  return { muxer, incoming }
}

const options = { protocol: PROTOCOL, negotiateFully: false }

async function first(stream: Stream): Promise<string> {
  for await (const piece of stream) return new TextDecoder().decode(piece.subarray())
  return ''
}

test('what is written before the peer answers reaches its handler of the protocol', async (t) => {
  const { muxer, incoming } = open(t)
  const stream = await muxer.createStream(options)
  t.is(stream.protocol, PROTOCOL, 'libp2p selects nothing')
  // The peer has not answered: it does so below.
  stream.send(MESSAGE)
  const received = await incoming
  t.is(await handle(received, [PROTOCOL]), PROTOCOL)
  t.is(await first(received), 'said at once')
})

test('of what the peer sends only what follows the selection is read', async (t) => {
  const { muxer, incoming } = open(t)
  const stream = await muxer.createStream(options)
  const received = await incoming
  await handle(received, [PROTOCOL])
  received.send(MESSAGE)
  await negotiated(stream)
  t.is(await first(stream), 'said at once')
})

test('a peer that does not speak the protocol ends the stream', async (t) => {
  const { muxer, incoming } = open(t)
  const stream = await muxer.createStream(options)
  void incoming.then((received) => handle(received, ['/other/1'])).catch(() => {})
  await t.throwsAsync(negotiated(stream), { name: 'UnsupportedProtocolError' })
  t.is(stream.status, 'aborted')
})

test('a peer that does not answer in time ends the stream', async (t) => {
  const { muxer } = open(t)
  const waiting = new AbortController()
  const stream = await muxer.createStream({ ...options, signal: waiting.signal })
  waiting.abort(new Error('enough'))
  await t.throwsAsync(negotiated(stream))
  t.is(stream.status, 'aborted')
})

test('a stream that is to be negotiated is left to libp2p', async (t) => {
  const { muxer } = open(t)
  const stream = await muxer.createStream({ protocol: PROTOCOL })
  t.is(stream.protocol, '')
  await t.notThrowsAsync(negotiated(stream))
})
