/** What every Source keeps to. An implementation gives a factory and gets a suite of ava tests. */
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import type { Extent } from '../../protocol/extent.ts'
import type { Source } from '../../transfer/source.ts'
import { collect } from '../helpers/collect.ts'
import { sparseContent } from '../helpers/sparse-content.ts'

export interface SourceUnderTest {
  /** Opens a source of this content; what it needs goes with the test. */
  open(t: ExecutionContext, content: Buffer): Promise<Source>
  /** Sizes are multiples of this (512 for devices and qemu images). */
  readonly granularityBytes?: number
  /** Why the suite cannot run here. */
  readonly skip?: string
}

/** Registers the suite under the name of the implementation. */
export function testSource(name: string, { open, granularityBytes = 1, skip }: SourceUnderTest): void {
  const test: TestFn = skip === undefined ? anyTest : (anyTest.skip as unknown as TestFn)
  const title = (criterion: string) => `${name} ${criterion}${skip === undefined ? '' : ` (${skip})`}`
  const sized = (sizeBytes: number) => Math.ceil(sizeBytes / granularityBytes) * granularityBytes

  test(title('extents() covers all data, in order, without overlap'), async (t) => {
    const content = sparseContent(sized(3_000_001))
    await using source = await open(t, content)
    t.is(source.sizeBytes, content.length)
    const extents = await extentsOf(source, 0)
    checkOrder(t, extents, 0, content.length)
    t.deepEqual(outside(content, extents), [], 'everything outside the extents is zeros')
  })

  test(title('extents() leaves out a hole when it says that it knows holes'), async (t) => {
    const content = Buffer.alloc(sized(4 << 20))
    content.fill(7, 1 << 20, (1 << 20) + 4096)
    await using source = await open(t, content)
    const total = (await extentsOf(source, 0)).reduce((sum, extent) => sum + extent.length, 0)
    if (source.supports.holes) t.true(total <= 1 << 20, `${total} bytes`)
    else t.is(total, content.length)
  })

  test(title('extents() starts at any offset'), async (t) => {
    const content = sparseContent(sized(1_000_003), 2)
    await using source = await open(t, content)
    for (const from of [1, 4095, 4096, 65_537, content.length - 1, content.length]) {
      const extents = await extentsOf(source, from)
      checkOrder(t, extents, from, content.length)
      t.deepEqual(outside(content, extents, from), [], `from ${from}`)
    }
  })

  test(title('extents() stops when aborted'), async (t) => {
    await using source = await open(t, sparseContent(sized(100_000)))
    const reason = new Error('enough')
    await t.throwsAsync(extentsOf(source, 0, AbortSignal.abort(reason)), { is: reason })
  })

  test(title('read() gives the content at odd places and at the edges'), async (t) => {
    const content = sparseContent(sized(1_500_007), 3)
    await using source = await open(t, content)
    const places = [
      [0, 1],
      [0, content.length],
      [content.length - 1, 1],
      [content.length, 0],
      [4095, 2],
      [511, 513],
      [65_535, 300_001],
    ] as const
    for (const [offset, length] of places) {
      const target = Buffer.alloc(length, 0xaa)
      await source.read(target, offset)
      t.true(target.equals(content.subarray(offset, offset + length)), `${length} bytes at ${offset}`)
    }
  })

  test(title('read() fills a view of WebAssembly memory and nothing around it'), async (t) => {
    const content = sparseContent(sized(200_000), 4)
    await using source = await open(t, content)
    const all = new Uint8Array(new WebAssembly.Memory({ initial: 4 }).buffer).fill(0xaa)
    await source.read(all.subarray(100, 70_100), 1000)
    t.true(Buffer.from(all.subarray(100, 70_100)).equals(content.subarray(1000, 71_000)))
    t.is(all[99], 0xaa)
    t.is(all[70_100], 0xaa)
  })

  test(title('read() serves many at once'), async (t) => {
    const content = sparseContent(sized(2_000_000), 5)
    await using source = await open(t, content)
    const targets = Array.from({ length: 40 }, () => Buffer.alloc(50_000))
    await Promise.all(targets.map(async (target, i) => source.read(target, i * 49_999)))
    t.true(targets.every((target, i) => target.equals(content.subarray(i * 49_999, i * 49_999 + 50_000))))
  })

  test(title('read() refuses what lies beyond the end'), async (t) => {
    await using source = await open(t, sparseContent(sized(10_000)))
    const read = async (length: number, offset: number) => source.read(Buffer.alloc(length), offset)
    await t.throwsAsync(read(2, source.sizeBytes - 1), { instanceOf: RangeError })
    await t.throwsAsync(read(1, -1), { instanceOf: RangeError })
    await t.throwsAsync(read(1, 0.5), { instanceOf: RangeError })
  })

  test(title('prefetch() and fingerprint() are quiet and steady'), async (t) => {
    await using source = await open(t, sparseContent(sized(100_000)))
    source.prefetch(0, source.sizeBytes)
    t.is(await source.fingerprint(), await source.fingerprint())
    t.regex(await source.fingerprint(), /^\S{1,500}$/)
  })

  test(title('dispose is idempotent'), async (t) => {
    const source = await open(t, sparseContent(sized(10_000)))
    await source[Symbol.asyncDispose]()
    await t.notThrowsAsync(async () => source[Symbol.asyncDispose]())
  })
}

async function extentsOf(source: Source, from: number, signal?: AbortSignal): Promise<Extent[]> {
  return collect(source.extents(from, { signal }))
}

/** Extents ascend within [from, sizeBytes), are not empty and at most 1 GiB. */
export function checkOrder(t: ExecutionContext, extents: Extent[], from: number, sizeBytes: number): void {
  let end = from
  for (const { offset, length } of extents) {
    t.true(offset >= end && length > 0 && length <= 2 ** 30, `${offset}+${length} after ${end}`)
    end = offset + length
  }
  t.true(end <= sizeBytes)
}

/** Offsets of the first bytes that are not zero outside the extents, from `from` on. */
export function outside(content: Buffer, extents: Extent[], from = 0): number[] {
  const rest = Buffer.from(content)
  rest.fill(0, 0, from)
  for (const { offset, length } of extents) rest.fill(0, offset, offset + length)
  const found = rest.findIndex((byte) => byte !== 0)
  return found === -1 ? [] : [found]
}
