import { randomBytes } from 'node:crypto'
import { MessageChannel } from 'node:worker_threads'
import type { Stream } from '@libp2p/interface'
import test from 'ava'
import { announceLane, pumpLane, readAnnouncement } from '../../agent/viaduct/libp2p-lane.ts'
import { encodeLaneHeader } from '../../protocol/codec.ts'
import type { FluidError } from '../../protocol/errors.ts'
import { TOKEN_BYTES } from '../../protocol/limits.ts'
import type { Lane } from '../../transfer/lane.ts'
import { openLane } from '../../transfer/lanes/open-lane.ts'
import type { OpenLaneOptions } from '../../transfer/lanes/tls-lane.ts'
import { laneConformance, type LanePair } from '../conformance/lane.ts'
import { openMeshPair } from '../helpers/mesh-pair.ts'

/** The lane on one end of a stream, with its pump; both disposed by `stack`. */
async function laneOn(
  stack: AsyncDisposableStack,
  stream: Stream,
  rest?: Uint8Array,
  options?: OpenLaneOptions,
): Promise<Lane> {
  const { port1, port2 } = new MessageChannel()
  stack.use(pumpLane(stream, port1, { rest }))
  return stack.use(await openLane({ kind: 'port', port: port2, path: 'libp2p' }, options))
}

async function openPair(options?: OpenLaneOptions, line?: { delayMs: number }): Promise<LanePair> {
  await using stack = new AsyncDisposableStack()
  const mesh = stack.use(await openMeshPair(line))
  const { opened, received } = await mesh.openStream()
  announceLane(opened, randomBytes(TOKEN_BYTES), 1)
  const { rest } = await readAnnouncement(received)
  const reader = await laneOn(stack, received, rest, options)
  const writer = await laneOn(stack, opened, undefined, options)
  const owned = stack.move()
  return {
    writer,
    reader,
    proxy: mesh.proxy,
    forth: mesh.proxy.up,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

laneConformance(test, 'libp2p stream', {
  openPair: (options) => openPair(options),
  async openHostile() {
    await using stack = new AsyncDisposableStack()
    const mesh = stack.use(await openMeshPair())
    const { opened, received } = await mesh.openStream()
    announceLane(opened, randomBytes(TOKEN_BYTES), 1)
    const { rest } = await readAnnouncement(received)
    const reader = await laneOn(stack, received, rest)
    const owned = stack.move()
    return {
      reader,
      send: (bytes) => void opened.send(bytes),
      end: () => void opened.close(),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    }
  },
})

test('pumpLane() holds a peer whose window has grown on a long line, however slow the reader', async (t) => {
  await using pair = await openPair({}, { delayMs: 20 })
  const payload = randomBytes(1024 * 1024)
  const frames = 120
  const writing = (async () => {
    for (let window = 1; window <= frames; window++) {
      await pair.writer.write(
        { kind: 'data', window, first: 0, count: 1, codec: 'raw', rawBytes: payload.length },
        payload,
      )
    }
    await pair.writer.end()
  })()
  let read = 0
  for await (const frame of pair.reader.frames()) {
    read++
    t.is(frame.payload.length, payload.length)
    // The window grows while all is read at once; then the reader falls behind the line.
    if (read > 40) await new Promise((resolve) => setTimeout(resolve, 40))
  }
  await writing
  t.is(read, frames)
})

test('readAnnouncement() gives token, lane and the bytes behind them', async (t) => {
  await using mesh = await openMeshPair()
  const { opened, received } = await mesh.openStream()
  const token = randomBytes(TOKEN_BYTES)
  const bye = encodeLaneHeader({ kind: 'bye' }, 0)
  opened.send(Buffer.concat([encodeLaneHeader({ kind: 'open', token, lane: 63 }, 0), bye]))
  const announcement = await readAnnouncement(received)
  t.deepEqual(Buffer.from(announcement.token), token)
  t.is(announcement.lane, 63)
  await using stack = new AsyncDisposableStack()
  const lane = await laneOn(stack, received, announcement.rest)
  for await (const { message } of lane.frames()) {
    t.deepEqual(message, { kind: 'bye' })
    break
  }
})

test('readAnnouncement() refuses a stream that begins with another frame', async (t) => {
  await using mesh = await openMeshPair()
  const { opened, received } = await mesh.openStream()
  opened.send(encodeLaneHeader({ kind: 'bye' }, 0))
  t.is((await t.throwsAsync<FluidError>(readAnnouncement(received)))?.code, 'PROTOCOL_VIOLATION')
  t.is(received.status, 'aborted')
})

test('readAnnouncement() throws the reason of its signal and aborts the stream', async (t) => {
  await using mesh = await openMeshPair()
  const { opened, received } = await mesh.openStream()
  opened.send(Uint8Array.of(1))
  const abort = new AbortController()
  const reading = readAnnouncement(received, { signal: abort.signal })
  const reason = new Error('enough')
  abort.abort(reason)
  await t.throwsAsync(reading, { is: reason })
  t.is(received.status, 'aborted')
})

test('pumpLane() is done and closes the stream when both lanes have ended', async (t) => {
  await using mesh = await openMeshPair()
  const { opened, received } = await mesh.openStream()
  await using stack = new AsyncDisposableStack()
  const channels = [new MessageChannel(), new MessageChannel()]
  opened.send(new Uint8Array(0))
  const pumps = [pumpLane(opened, channels[0].port1), pumpLane(received, channels[1].port1)]
  const lanes = await Promise.all(
    channels.map(({ port2 }) => openLane({ kind: 'port', port: port2, path: 'libp2p' })),
  )
  for (const lane of lanes) stack.use(lane)
  await Promise.all(lanes.map((lane) => lane.end()))
  await Promise.all(pumps.map((pump) => pump.done))
  t.deepEqual([opened.status, received.status], ['closed', 'closed'])
})
