import test from 'ava'
import { FluidError } from '../../protocol/errors.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import { ENTRY_BYTES, writeEntry } from '../../protocol/manifest.ts'
import type { Lane, LaneFrame } from '../../transfer/lane.ts'
import type { ScannedWindow } from '../../transfer/scan.ts'
import { createExchange, type WantedWindow } from '../../transfer/want.ts'

const MiB = 2 ** 20

/** Windows of `chunks` chunks each, as a scan gives them; knows which are not released yet. */
function scanned(windows: number, { chunks = 9, failAt = Infinity } = {}) {
  const held = new Set<number>()
  async function* generate(): AsyncGenerator<ScannedWindow> {
    for (let i = 0; i < windows; i++) {
      if (i === failAt) throw new FluidError('SOURCE_READ', 'The disk is broken')
      const entries = new Uint8Array(chunks * ENTRY_BYTES)
      for (let entry = 0; entry < chunks; entry++)
        writeEntry(entries, entry, i * 4 * MiB + entry * 65_536, 65_536, new Uint8Array(32))
      held.add(i)
      yield {
        start: i * 4 * MiB,
        end: (i + 1) * 4 * MiB,
        entries,
        dataBytes: chunks * 65_536,
        bytes: new Uint8Array(0),
        position: () => 0,
        chunk: () => new Uint8Array(65_536),
        release: () => void held.delete(i),
      }
    }
  }
  return { held, windows: generate() }
}

/** The sender's lane with a peer that a test speaks for. */
function peer({ failWriteAt = Infinity } = {}) {
  const frames: LaneFrame[] = []
  const asked: number[] = []
  const written: string[] = []
  let wake = Promise.withResolvers<void>()
  let over: { error?: Error } | undefined
  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  const say = (message: LaneMessage, payload = new Uint8Array(0)) => {
    frames.push({ message, payload })
    stir()
  }
  const lane = {
    async write(message: LaneMessage) {
      written.push(message.kind)
      if (message.kind !== 'have') return
      if (message.window === failWriteAt) throw new FluidError('LANE_FAILED', 'The line was cut')
      asked.push(message.window)
      stir()
    },
    async *frames() {
      for (;;) {
        const frame = frames.shift()
        if (frame) yield frame
        else if (over?.error) throw over.error
        else if (over) return
        else await wake.promise
      }
    },
  } as unknown as Lane
  return {
    lane,
    asked,
    written,
    say,
    want: (window: number, bitmap = [0xff, 0x01]) =>
      say({ kind: 'want', window, idlePermille: 250 }, Uint8Array.from(bitmap)),
    end(error?: Error) {
      over = { error }
      stir()
    },
    /** Resolves once `count` windows were asked for. */
    async hasAsked(count: number) {
      while (asked.length < count) await wake.promise
    },
  }
}

async function drain(windows: AsyncIterable<WantedWindow>, take = Infinity): Promise<WantedWindow[]> {
  const all: WantedWindow[] = []
  for await (const wanted of windows) {
    wanted.window.release()
    all.push(wanted)
    if (all.length === take) break
  }
  return all
}

/** What is left to settle once everything awaited has: promises that resolve each other, no time. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

test('want() asks for as many windows ahead as it may, and no more', async (t) => {
  const { lane, asked, hasAsked, want, end } = peer()
  const exchange = createExchange(lane)
  const listening = exchange.listen(lane.frames())
  const { windows, held } = scanned(7)
  const wanted = exchange.want(3)(windows)
  const first = wanted.next()
  await hasAsked(3)
  await settled()
  t.deepEqual(asked, [1, 2, 3])
  want(1)
  t.is((await first).value?.number, 1)
  wanted.next().catch(() => {})
  await hasAsked(4)
  await settled()
  t.deepEqual(asked, [1, 2, 3, 4])
  t.true(held.size <= 5)
  end()
  await listening
})

test('want() sends the first chunks before the answer where the receiver takes them, and leaves them out of what it wants', async (t) => {
  const { lane, hasAsked, want, written, end } = peer()
  const exchange = createExchange(lane, { unaskedBytes: 65_536 })
  const listening = exchange.listen(lane.frames())
  const draining = drain(exchange.want(3)(scanned(2).windows))
  await hasAsked(2)
  t.deepEqual(written, ['have', 'data', 'have'], 'Of the first window only')
  for (const window of [1, 2]) want(window)
  const [first, second] = await draining
  t.deepEqual([first.unaskedBytes, second.unaskedBytes], [65_536, 0])
  t.deepEqual([first.wants(0), first.wants(1), second.wants(0)], [false, true, true])
  end()
  await listening
})

test('want() gives windows in order with what was wanted of each, in whatever order the answers come', async (t) => {
  const { lane, hasAsked, want, end } = peer()
  const exchange = createExchange(lane)
  const listening = exchange.listen(lane.frames())
  const { windows, held } = scanned(3)
  const draining = drain(exchange.want(3)(windows))
  await hasAsked(3)
  want(3, [0, 0])
  want(1, [0b0000_0101, 1])
  want(2, [0xff, 1])
  const all = await draining
  t.deepEqual(
    all.map(({ number }) => number),
    [1, 2, 3],
  )
  const bits = all.map(({ wants }) => Array.from({ length: 9 }, (_, i) => (wants(i) ? 1 : 0)).join(''))
  t.deepEqual(bits, ['101000001', '111111111', '000000000'])
  t.is(exchange.receiverIdle, 0.25)
  t.is(held.size, 0)
  end()
  await listening
})

test('want() takes the answer for a window without data', async (t) => {
  const { lane, hasAsked, want } = peer()
  const exchange = createExchange(lane)
  void exchange.listen(lane.frames())
  const draining = drain(exchange.want(2)(scanned(1, { chunks: 0 }).windows))
  await hasAsked(1)
  want(1, [])
  t.is((await draining).length, 1)
})

const lies: [string, (line: ReturnType<typeof peer>) => void, RegExp][] = [
  ['a bitmap that is too short', ({ want }) => want(1, [0xff]), /want bitmap of 1 bytes, not 2/],
  ['a bitmap that is too long', ({ want }) => want(1, [0xff, 1, 0]), /want bitmap of 3 bytes, not 2/],
  ['an answer for a window not asked', ({ want }) => want(9), /window 9, which was not asked/],
  ['a second answer', ({ want }) => (want(1), want(1)), /window 1, which was not asked/],
  [
    'a frame only senders send',
    ({ say }) => say({ kind: 'have', window: 1, start: 0, end: 1 }),
    /have frame came to the sender/,
  ],
]

for (const [lie, tell, message] of lies) {
  test(`listen() refuses ${lie}, and want() lets go of every window`, async (t) => {
    const line = peer()
    const exchange = createExchange(line.lane)
    const listening = exchange.listen(line.lane.frames())
    listening.catch(() => {})
    const { windows, held } = scanned(6)
    const draining = drain(exchange.want(3)(windows))
    draining.catch(() => {})
    await line.hasAsked(2)
    tell(line)
    await t.throwsAsync(listening, { code: 'PROTOCOL_VIOLATION', message })
    await t.throwsAsync(draining, { code: 'PROTOCOL_VIOLATION' })
    await settled()
    t.is(held.size, 0)
  })
}

test('listen() throws the error the receiver tells', async (t) => {
  const { lane, say } = peer()
  say({ kind: 'error', code: 12, message: 'The target is full' })
  await t.throwsAsync(createExchange(lane).listen(lane.frames()), {
    code: 'LANE_FAILED',
    message: /The target is full/,
  })
})

test('want() lets go of every window, wherever the receiver goes away', async (t) => {
  for (const error of [undefined, new FluidError('LANE_FAILED', 'The line was cut')]) {
    for (let answers = 0; answers < 6; answers++) {
      const { lane, hasAsked, want, end } = peer()
      const exchange = createExchange(lane)
      const listening = exchange.listen(lane.frames()).catch(() => {})
      const { windows, held } = scanned(6)
      const draining = drain(exchange.want(3)(windows))
      draining.catch(() => {})
      for (let i = 1; i <= answers; i++) {
        await hasAsked(i)
        want(i)
      }
      end(error)
      await listening
      await t.throwsAsync(draining, { code: 'LANE_FAILED' })
      await settled()
      t.is(held.size, 0, `after ${answers} answers`)
    }
  }
})

test('want() lets go of every window, whichever announcement fails', async (t) => {
  for (let failWriteAt = 1; failWriteAt <= 5; failWriteAt++) {
    const { lane, hasAsked, want } = peer({ failWriteAt })
    const exchange = createExchange(lane)
    void exchange.listen(lane.frames())
    const { windows, held } = scanned(5)
    const draining = drain(exchange.want(3)(windows))
    draining.catch(() => {})
    for (let i = 1; i < failWriteAt; i++) {
      await hasAsked(i)
      want(i)
    }
    await t.throwsAsync(draining, { code: 'LANE_FAILED' })
    await settled()
    t.is(held.size, 0, `announcement ${failWriteAt}`)
  }
})

test('want() lets go of every window when the scan fails', async (t) => {
  for (let failAt = 0; failAt < 4; failAt++) {
    const { lane, want, hasAsked } = peer()
    const exchange = createExchange(lane)
    void exchange.listen(lane.frames())
    const { windows, held } = scanned(5, { failAt })
    const draining = drain(exchange.want(3)(windows))
    draining.catch(() => {})
    if (failAt > 1) {
      await hasAsked(1)
      want(1)
    }
    await t.throwsAsync(draining, { code: 'SOURCE_READ' })
    await settled()
    t.is(held.size, 0, `window ${failAt}`)
  }
})

test('want() lets go of every window when nobody wants more of them', async (t) => {
  for (let take = 1; take < 5; take++) {
    const { lane, want, hasAsked } = peer()
    const exchange = createExchange(lane)
    void exchange.listen(lane.frames())
    const { windows, held } = scanned(6)
    const draining = drain(exchange.want(3)(windows), take)
    for (let i = 1; i <= take; i++) {
      await hasAsked(i)
      want(i)
    }
    t.is((await draining).length, take)
    await settled()
    t.is(held.size, 0, `after ${take}`)
  }
})

/** A first window with three entries of 64 KiB, of which the receiver has older versions as `marks` says. */
function based(marks: number[]) {
  const { lane, say, hasAsked, end } = peer()
  const exchange = createExchange(lane)
  const listening = exchange.listen(lane.frames())
  listening.catch(() => {})
  const draining = drain(exchange.want(3)(scanned(1, { chunks: 3 }).windows))
  draining.catch(() => {})
  const answer = async () => {
    await hasAsked(1)
    say({ kind: 'want', window: 1, idlePermille: 0, based: true }, Uint8Array.from(marks))
  }
  const blocks = (bitmap: number[]) => say({ kind: 'want-blocks', window: 1 }, Uint8Array.from(bitmap))
  return { answer, blocks, listening, draining, end }
}

test('want() asks for the blocks of what has an older version, and gives the parts that differ', async (t) => {
  const { answer, blocks, draining, end } = based([0b111, 0b010])
  await answer()
  blocks([0b0000_0110, 0b1000_0000])
  const [{ wants, parts }] = await draining
  t.deepEqual([wants(0), wants(1), wants(2)], [true, true, true])
  t.deepEqual(
    [...parts],
    [
      [
        1,
        [
          { start: 4096, end: 3 * 4096 },
          { start: 15 * 4096, end: 16 * 4096 },
        ],
      ],
    ],
  )
  end()
})

test('listen() refuses answers about blocks that make no sense', async (t) => {
  const ways: [title: string, marks: number[], blocks?: number[]][] = [
    ['an older version of what is not wanted', [0b001, 0b010]],
    ['no older versions at all', [0b111, 0]],
    ['half the bitmaps', [0b111]],
    ['a bitmap that is too short', [0b111, 0b010], [0xff]],
    ['a bitmap that is too long', [0b111, 0b010], [0xff, 0xff, 0]],
    ['a chunk without blocks', [0b111, 0b110], [0xff, 0xff, 0, 0]],
  ]
  for (const [title, marks, bitmap] of ways) {
    const { answer, blocks, listening, draining } = based(marks)
    await answer()
    if (bitmap) blocks(bitmap)
    await t.throwsAsync(listening, { code: 'PROTOCOL_VIOLATION' }, title)
    await t.throwsAsync(draining, { code: 'PROTOCOL_VIOLATION' }, title)
  }
})

test('listen() refuses blocks that were not asked about', async (t) => {
  const { lane, say, hasAsked } = peer()
  const exchange = createExchange(lane)
  const listening = exchange.listen(lane.frames())
  const draining = drain(exchange.want(3)(scanned(1).windows))
  draining.catch(() => {})
  await hasAsked(1)
  say({ kind: 'want-blocks', window: 1 }, Uint8Array.of(1))
  await t.throwsAsync(listening, { code: 'PROTOCOL_VIOLATION' })
})
