/** What every lane does, whatever carries its bytes. A kind gives pairs of lanes, and lanes whose peer sends what it likes. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import type { TestFn } from 'ava'
import fc from 'fast-check'
import { encodeLaneHeader } from '../../protocol/codec.ts'
import { FluidError } from '../../protocol/errors.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import { DATA_FRAME_BYTES, MAX_LANE_HEADER_BYTES, MAX_LANE_PAYLOAD_BYTES } from '../../protocol/limits.ts'
import type { Lane, LaneFrame } from '../../transfer/lane.ts'
import type { OpenLaneOptions } from '../../transfer/lanes/tls-lane.ts'
import type { BrokenProxy, Flow } from '../helpers/broken-proxy.ts'

/** Both ends of a lane; `forth` is the flow of the proxy from writer to reader. */
export interface LanePair extends AsyncDisposable {
  readonly writer: Lane
  readonly reader: Lane
  readonly proxy: BrokenProxy
  readonly forth: Flow
}

/** A lane whose peer is authenticated and writes raw bytes. */
export interface HostilePair extends AsyncDisposable {
  readonly reader: Lane
  send(bytes: Uint8Array): void
  end(): void
}

export interface LaneKind {
  openPair(options?: OpenLaneOptions): Promise<LanePair>
  openHostile(): Promise<HostilePair>
}

const MiB = 1024 * 1024
/** Kernel buffers of two hops, what the proxy holds, one yamux window and both port credits lie between the ends at most. */
const MAX_LEAD_BYTES = 2 * (maxKernelBufferBytes('tcp_rmem') + maxKernelBufferBytes('tcp_wmem')) + 8 * MiB

export function laneConformance(test: TestFn, name: string, kind: LaneKind): void {
  const title = (criterion: string) => `Lane (${name}) ${criterion}`

  test(title('carries frames of every size in order and whole, both ways at once'), async (t) => {
    const sizes = fc.oneof(
      fc.constantFrom(1, 15 * 1024, 15 * 1024 + 1, 16 * 1024, DATA_FRAME_BYTES, MAX_LANE_PAYLOAD_BYTES),
      fc.integer({ min: 1, max: MAX_LANE_PAYLOAD_BYTES }),
    )
    const lists = fc.array(sizes, { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(lists, lists, async (there, back) => {
        await using pair = await kind.openPair()
        const [sent, returned] = [
          there.map((size) => randomBytes(size)),
          back.map((size) => randomBytes(size)),
        ]
        const [, , forth, answer] = await Promise.all([
          writeAll(pair.writer, sent),
          writeAll(pair.reader, returned),
          collect(pair.reader.frames()),
          collect(pair.writer.frames()),
        ])
        t.true(same(forth, sent))
        t.true(same(answer, returned))
      }),
      { numRuns: 4, includeErrorInReport: true },
    )
  })

  test(title('carries every kind of message'), async (t) => {
    await using pair = await kind.openPair()
    const messages: LaneMessage[] = [
      { kind: 'have', window: 1, start: 0, end: 2 ** 52 },
      { kind: 'want', window: 2 ** 32 - 1, idlePermille: 1000 },
      { kind: 'error', code: 8, message: 'Disk is gone' },
      { kind: 'bye' },
    ]
    for (const message of messages) await pair.writer.write(message)
    await pair.writer.end()
    const got: LaneMessage[] = []
    for await (const frame of pair.reader.frames()) got.push(frame.message)
    t.deepEqual(got, messages)
  })

  test(title('leaves a payload to its owner once write() resolves'), async (t) => {
    await using pair = await kind.openPair()
    const payload = new Uint8Array(new WebAssembly.Memory({ initial: 16, maximum: 16 }).buffer)
    const writing = (async () => {
      for (let frame = 1; frame <= 40; frame++) {
        payload.fill(frame)
        await pair.writer.write(data(payload.length, frame), payload)
      }
      payload.fill(0)
      await pair.writer.end()
    })()
    const wrong: number[] = []
    for await (const { message, payload: got } of pair.reader.frames()) {
      const window = message.kind === 'data' ? message.window : 0
      if (!got.every((byte) => byte === window)) wrong.push(window)
    }
    await writing
    t.deepEqual(wrong, [])
  })

  test(title('leaves a payload that is kept as it is until it is let go'), async (t) => {
    await using pair = await kind.openPair()
    const payloads = Array.from({ length: 24 }, () => randomBytes(MiB))
    const writing = writeAll(pair.writer, payloads)
    const kept: { payload: Uint8Array; sent: Uint8Array; letGo(): void }[] = []
    let read = 0
    for await (const { payload, keep } of pair.reader.frames()) {
      const sent = payloads[read++]
      t.is(Buffer.compare(payload, sent), 0)
      if (read % 3 === 0) continue
      const { promise, resolve } = Promise.withResolvers<void>()
      keep!(promise)
      kept.push({ payload, sent, letGo: resolve })
      if (kept.length <= 2) continue
      // By now the frames behind it came.
      const oldest = kept.shift()!
      t.is(Buffer.compare(oldest.payload, oldest.sent), 0)
      oldest.letGo()
    }
    await writing
    t.is(read, payloads.length)
  })

  test(title('holds the writer when nobody reads, and then loses nothing'), async (t) => {
    await using pair = await kind.openPair()
    const payload = randomBytes(MiB)
    const readFirst = 24
    // More than may be ahead, both times.
    const frames = readFirst + Math.ceil(MAX_LEAD_BYTES / MiB) + readFirst
    let written = 0
    const writing = (async () => {
      for (let frame = 1; frame <= frames; frame++) {
        await pair.writer.write(data(payload.length, frame), payload)
        written++
      }
      await pair.writer.end()
    })()
    writing.catch(() => {}) // The test may fail before it waits.
    await settled(() => written)
    t.true(written * MiB <= MAX_LEAD_BYTES, `${written} MiB were taken without a reader`)
    let read = 0
    for await (const { message, payload: got } of pair.reader.frames()) {
      read++
      if (message.kind !== 'data' || message.window !== read || !payload.equals(got))
        t.fail(`Frame ${read} is wrong`)
      if (read !== readFirst) continue
      // Once more: a line that was let go is held again.
      await settled(() => written)
      t.true((written - read) * MiB <= MAX_LEAD_BYTES, `${written - read} MiB were taken ahead of the reader`)
    }
    await writing
    t.is(read, frames)
    t.true(pair.writer.waited.writeMs > 100, `Waited ${pair.writer.waited.writeMs} ms for the line`)
  })

  test(title('end() half-closes: the other direction goes on'), async (t) => {
    await using pair = await kind.openPair()
    await pair.writer.end()
    t.deepEqual(await collect(pair.reader.frames()), [])
    const sent = [randomBytes(MiB), randomBytes(5)]
    const [got] = await Promise.all([collect(pair.writer.frames()), writeAll(pair.reader, sent)])
    t.true(same(got, sent))
    await t.throwsAsync(pair.writer.write({ kind: 'bye' }), { instanceOf: TypeError })
  })

  test(title('counts its bytes on the wire within 2 %'), async (t) => {
    await using pair = await kind.openPair()
    const before = pair.forth.bytes
    const [got] = await Promise.all([
      collect(pair.reader.frames()),
      writeAll(
        pair.writer,
        Array.from({ length: 8 }, () => randomBytes(MiB)),
      ),
    ])
    t.is(got.length, 8)
    const really = pair.forth.bytes - before
    for (const counted of [pair.writer.wire.sentBytes, pair.reader.wire.receivedBytes]) {
      t.true(Math.abs(counted / really - 1) < 0.02, `Counted ${counted} of ${really} bytes`)
    }
  })

  test(title('counts the time a reader waits for frames'), async (t) => {
    await using pair = await kind.openPair()
    const reading = collect(pair.reader.frames())
    await wait(60)
    await pair.writer.end()
    await reading
    t.true(pair.reader.waited.readMs >= 50, `Waited ${pair.reader.waited.readMs} ms`)
  })

  test(title('a cut line fails both ends with LANE_FAILED'), async (t) => {
    await using pair = await kind.openPair()
    pair.forth.cutAt = pair.forth.bytes + 3 * MiB
    const outcomes = await Promise.allSettled([
      collect(pair.reader.frames()),
      writeAll(
        pair.writer,
        Array.from({ length: 64 }, () => randomBytes(MiB)),
      ),
      collect(pair.writer.frames()),
    ])
    t.deepEqual(outcomes.map(codeOf), ['LANE_FAILED', 'LANE_FAILED', 'LANE_FAILED'])
  })

  test(title('a byte changed on the line fails the reader and reaches it never'), async (t) => {
    await using pair = await kind.openPair()
    const payload = randomBytes(MiB)
    pair.forth.corruptAt = pair.forth.bytes + 2.5 * MiB
    const writing = writeAll(
      pair.writer,
      Array.from({ length: 64 }, () => payload),
    )
    writing.catch(() => {})
    let whole = 0
    const error = await t.throwsAsync(async () => {
      for await (const { payload: got } of pair.reader.frames()) {
        if (!payload.equals(got)) t.fail('Changed bytes were given out')
        whole++
      }
    })
    t.is((error as FluidError).code, 'LANE_FAILED')
    t.true(whole <= 2)
    await t.throwsAsync(writing)
  })

  test(title('an end inside a frame is LANE_FAILED, after the frames that came whole'), async (t) => {
    await using pair = await kind.openHostile()
    const head = encodeLaneHeader(data(1000, 1), 1000)
    pair.send(Buffer.concat([head, randomBytes(1000), head, randomBytes(999)]))
    pair.end()
    const frames = pair.reader.frames()[Symbol.asyncIterator]()
    t.is((await frames.next()).value?.payload.length, 1000)
    t.is((await t.throwsAsync<FluidError>(frames.next() as Promise<never>))?.code, 'LANE_FAILED')
  })

  test(title('an end that does not say so is LANE_FAILED'), async (t) => {
    await using pair = await kind.openHostile()
    pair.send(encodeLaneHeader({ kind: 'bye' }, 0))
    pair.end()
    const frames = pair.reader.frames()[Symbol.asyncIterator]()
    t.deepEqual((await frames.next()).value?.message, { kind: 'bye' })
    t.is((await t.throwsAsync<FluidError>(frames.next() as Promise<never>))?.code, 'LANE_FAILED')
  })

  const lies: [string, () => Uint8Array][] = [
    ['a header over the limit', () => prefix(MAX_LANE_HEADER_BYTES + 1, 0)],
    ['a payload over the limit', () => prefix(10, MAX_LANE_PAYLOAD_BYTES + 1)],
    ['an empty header', () => prefix(0, 5)],
    ['a header that is no message', () => Buffer.concat([prefix(20, 0), randomBytes(20).fill(0xff)])],
    [
      'a payload of a length its message cannot have',
      () => Buffer.concat([prefix(2, 77), encodeLaneHeader({ kind: 'bye' }, 0).subarray(8)]),
    ],
    ['random bytes', () => randomBytes(4096).fill(0xee, 0, 8)],
  ]
  for (const [lie, bytes] of lies) {
    test(title(`${lie} is PROTOCOL_VIOLATION`), async (t) => {
      await using pair = await kind.openHostile()
      pair.send(bytes())
      t.is((await t.throwsAsync<FluidError>(collect(pair.reader.frames())))?.code, 'PROTOCOL_VIOLATION')
      await t.throwsAsync(pair.reader.write({ kind: 'bye' }), { instanceOf: FluidError })
    })
  }

  test(title('the signal it was opened with ends it at any time'), async (t) => {
    const abort = new AbortController()
    await using pair = await kind.openPair({ signal: abort.signal })
    const reason = new Error('enough')
    const outcomes = Promise.allSettled([
      collect(pair.reader.frames()),
      writeAll(
        pair.writer,
        Array.from({ length: 64 }, () => new Uint8Array(MiB)),
      ),
    ])
    abort.abort(reason)
    for (const outcome of await outcomes) t.is(outcome.status === 'rejected' && outcome.reason, reason)
    await t.throwsAsync(pair.writer.write({ kind: 'bye' }), { is: reason })
  })

  test(title('the signal of frames() ends the reading and not the lane'), async (t) => {
    await using pair = await kind.openPair()
    const reason = new Error('enough')
    const abort = new AbortController()
    const reading = collect(pair.reader.frames({ signal: abort.signal }))
    abort.abort(reason)
    await t.throwsAsync(reading, { is: reason })
    const [got] = await Promise.all([collect(pair.writer.frames()), writeAll(pair.reader, [randomBytes(9)])])
    t.is(got.length, 1)
  })

  test(title('disposed twice it is closed once, and what waits fails with LANE_FAILED'), async (t) => {
    await using pair = await kind.openPair()
    const outcomes = Promise.allSettled([collect(pair.reader.frames()), collect(pair.writer.frames())])
    await pair.reader[Symbol.asyncDispose]()
    await pair.reader[Symbol.asyncDispose]()
    t.deepEqual((await outcomes).map(codeOf), ['LANE_FAILED', 'LANE_FAILED'])
    t.is((await t.throwsAsync<FluidError>(pair.reader.write({ kind: 'bye' })))?.code, 'LANE_FAILED')
  })

  test(title('frames() can be called once'), async (t) => {
    await using pair = await kind.openPair()
    await pair.writer.end()
    await collect(pair.reader.frames())
    await t.throwsAsync(collect(pair.reader.frames()), { instanceOf: TypeError })
  })

  // Alone: beside many others a lane that moves may look as if it did not.
  test.serial(title('that owes bytes and moves none is LANE_FAILED, an idle one is not'), async (t) => {
    await using pair = await kind.openPair({ stallTimeoutMs: 1_000 })
    await wait(1_500)
    await pair.writer.write({ kind: 'want', window: 1, idlePermille: 0 })
    pair.forth.frozen = true
    const stuck = writeAll(
      pair.writer,
      Array.from({ length: 96 }, () => new Uint8Array(MiB)),
    )
    const error = await t.throwsAsync<FluidError>(stuck)
    t.is(error?.code, 'LANE_FAILED')
    t.regex(error.message, /no byte for 1000 ms/)
  })
}

function data(payloadBytes: number, window: number): LaneMessage {
  if (payloadBytes <= DATA_FRAME_BYTES)
    return { kind: 'data', window, first: 0, count: 1, codec: 'raw', rawBytes: payloadBytes }
  return { kind: 'data', window, first: 0, count: 1, codec: 'zstd', rawBytes: DATA_FRAME_BYTES }
}

function prefix(headerBytes: number, payloadBytes: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32LE(headerBytes, 0)
  bytes.writeUInt32LE(payloadBytes, 4)
  return bytes
}

async function writeAll(lane: Lane, payloads: readonly Uint8Array[]): Promise<void> {
  await Promise.all(payloads.map((payload, index) => lane.write(data(payload.length, index + 1), payload)))
  await lane.end()
}

async function collect(frames: AsyncIterable<LaneFrame>): Promise<{ window: number; payload: Buffer }[]> {
  const all = []
  for await (const { message, payload } of frames) {
    all.push({ window: message.kind === 'data' ? message.window : 0, payload: Buffer.from(payload) })
  }
  return all
}

function same(got: readonly { window: number; payload: Buffer }[], sent: readonly Buffer[]): boolean {
  return (
    got.length === sent.length &&
    got.every(({ window, payload }, index) => window === index + 1 && payload.equals(sent[index]))
  )
}

function codeOf(outcome: PromiseSettledResult<unknown>): unknown {
  return outcome.status === 'rejected' ? (outcome.reason as FluidError).code : 'fulfilled'
}

/** Resolves when `count` has not changed for half a second. */
/** To which the kernel lets a buffer of a TCP socket grow (tcp(7)). */
function maxKernelBufferBytes(name: 'tcp_rmem' | 'tcp_wmem'): number {
  return Number(readFileSync(`/proc/sys/net/ipv4/${name}`, 'latin1').trim().split(/\s+/)[2])
}

async function settled(count: () => number): Promise<void> {
  for (let before = -1; before !== count(); await wait(500)) before = count()
}
