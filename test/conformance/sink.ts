/** What every Sink keeps to. An implementation gives a factory and gets a suite of ava tests. */
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import { DirectMemory } from '../../transfer/direct-memory.ts'
import type { Sink } from '../../transfer/sink.ts'
import { collect } from '../helpers/collect.ts'
import { randomNumbers, sparseContent } from '../helpers/sparse-content.ts'
import { checkOrder, outside } from './source.ts'

/** A volume to write to, and how else to look at it. */
export interface Target {
  /** Opens it; called twice where several may be open. */
  open(): Promise<Sink>
}

export interface SinkUnderTest {
  /** Makes a volume that reads as zeros; what it needs goes with the test. */
  create(t: ExecutionContext, sizeBytes: number): Promise<Target>
  readonly granularityBytes?: number
  readonly skip?: string
}

/** Registers the suite under the name of the implementation. */
export function testSink(name: string, { create, granularityBytes = 1, skip }: SinkUnderTest): void {
  const test: TestFn = skip === undefined ? anyTest : (anyTest.skip as unknown as TestFn)
  const title = (criterion: string) => `${name} ${criterion}${skip === undefined ? '' : ` (${skip})`}`
  const sized = (sizeBytes: number) => Math.ceil(sizeBytes / granularityBytes) * granularityBytes

  test(title('write() at odd places reads back'), async (t) => {
    const content = sparseContent(sized(2_000_001), 11)
    await using sink = await (await create(t, content.length)).open()
    t.is(sink.sizeBytes, content.length)
    for (const [start, end] of cuts(content.length, 12)) await sink.write(content.subarray(start, end), start)
    t.true((await whole(sink)).equals(content))
  })

  test(title('write() takes many at once, in any order, neighbours too'), async (t) => {
    const content = sparseContent(sized(1_000_001), 13)
    await using sink = await (await create(t, content.length)).open()
    const pieces = cuts(content.length, 14).reverse()
    await Promise.all(pieces.map(async ([start, end]) => sink.write(content.subarray(start, end), start)))
    t.true((await whole(sink)).equals(content))
  })

  test(title('write() takes long pieces, also such that lie in memory as on a disk'), async (t) => {
    const content = sparseContent(sized(6_000_001), 15)
    await using sink = await (await create(t, content.length)).open()
    const memory = new DirectMemory(content.length)
    for (let start = 0, length = 1; start < content.length; start += length, length = 200_000 + start / 4) {
      length = Math.floor(Math.min(length, content.length - start))
      const piece = memory.take(length, start)
      piece.set(content.subarray(start, start + length))
      await sink.write(piece, start)
    }
    t.true((await whole(sink)).equals(content))
    await sink.sync()
    sink.forgetCached?.()
    t.true((await whole(sink)).equals(content))
  })

  test(title('read() gives zeros where nothing was written'), async (t) => {
    await using sink = await (await create(t, sized(300_000))).open()
    await sink.write(Buffer.from('x'), 100_000)
    const all = await whole(sink)
    t.is(all[100_000], 0x78)
    all[100_000] = 0
    t.true(all.equals(Buffer.alloc(all.length)))
  })

  test(title('zero() clears exactly its range'), async (t) => {
    const content = Buffer.alloc(sized(1_000_000), 0x55)
    await using sink = await (await create(t, content.length)).open()
    await sink.write(content, 0)
    const places = [
      [0, 1],
      [4095, 2],
      [65_536, 131_072],
      [300_001, 100_003],
      [content.length - 3, 3],
      [500_000, 0],
    ] as const
    for (const [offset, length] of places) {
      await sink.zero(offset, length)
      content.fill(0, offset, offset + length)
    }
    t.true((await whole(sink)).equals(content))
  })

  test(title('write() after zero() holds'), async (t) => {
    await using sink = await (await create(t, sized(200_000))).open()
    await sink.write(Buffer.alloc(200_000, 1), 0)
    await sink.zero(0, 200_000)
    await sink.write(Buffer.from('again'), 70_000)
    await sink.sync()
    t.is((await whole(sink)).toString('latin1', 69_999, 70_006), '\0again\0')
  })

  test(title('written() covers what was written, in order, within the range'), async (t) => {
    const content = Buffer.alloc(sized(4 << 20))
    content.fill(9, 70_000, 80_000)
    content.fill(9, 3_000_000, 3_000_001)
    await using sink = await (await create(t, content.length)).open()
    await sink.write(content.subarray(70_000, 80_000), 70_000)
    await sink.write(content.subarray(3_000_000, 3_000_001), 3_000_000)
    for (const [from, to] of [
      [0, content.length],
      [75_001, 3_500_000],
      [100_000, 200_000],
    ] as const) {
      const extents = await collect(sink.written(from, to))
      checkOrder(t, extents, from, to)
      t.deepEqual(outside(content.subarray(0, to), extents, from), [])
    }
  })

  test(title('several openers see one volume'), async (t) => {
    const target = await create(t, sized(500_000))
    await using first = await target.open()
    if (!first.supports.shared) return t.pass('one opener only')
    await using second = await target.open()
    await first.write(Buffer.from('one'), 1)
    await second.write(Buffer.from('two'), 400_000)
    await first.sync()
    t.is((await whole(first)).toString('latin1', 400_000, 400_003), 'two')
    t.is((await whole(second)).toString('latin1', 1, 4), 'one')
  })

  test(title('write(), zero() and read() refuse what lies beyond the end'), async (t) => {
    await using sink = await (await create(t, sized(10_000))).open()
    const end = sink.sizeBytes
    const refused = { instanceOf: RangeError }
    await t.throwsAsync(async () => sink.write(Buffer.alloc(2), end - 1), refused)
    await t.throwsAsync(async () => sink.write(Buffer.alloc(1), -1), refused)
    await t.throwsAsync(async () => sink.zero(end - 1, 2), refused)
    await t.throwsAsync(async () => sink.read(Buffer.alloc(2), end - 1), refused)
    t.true((await whole(sink)).equals(Buffer.alloc(end)))
  })

  test(title('sync() settles, and dispose is idempotent'), async (t) => {
    const sink = await (await create(t, sized(10_000))).open()
    await sink.write(Buffer.from('kept'), 0)
    await sink.sync()
    await sink[Symbol.asyncDispose]()
    await t.notThrowsAsync(async () => sink[Symbol.asyncDispose]())
  })
}

async function whole(sink: Sink): Promise<Buffer> {
  const bytes = Buffer.alloc(sink.sizeBytes, 0xaa)
  await sink.read(bytes, 0)
  return bytes
}

/** [0, sizeBytes) in pieces of odd lengths up to 100 KB. */
function cuts(sizeBytes: number, seed: number): [number, number][] {
  const random = randomNumbers(seed)
  const pieces: [number, number][] = []
  for (let start = 0; start < sizeBytes;) {
    const end = Math.min(sizeBytes, start + 1 + Math.floor(random() * 100_000))
    pieces.push([start, end])
    start = end
  }
  return pieces
}

/** A sink that is closed while it syncs is open until that is done: of such as have a descriptor. */
export async function closesOnceSynced(t: ExecutionContext, sink: Sink): Promise<void> {
  await sink.write(Buffer.alloc(sink.sizeBytes, 7), 0)
  let ended = false
  const synced = sink.sync().then(() => void (ended = true))
  await sink[Symbol.asyncDispose]()
  t.true(ended)
  await synced
}
