import test from 'ava'
import fc from 'fast-check'
import type { Extent } from '../../protocol/extent.ts'
import { WINDOW_BYTES } from '../../protocol/limits.ts'
import { windows, type Window } from '../../transfer/window.ts'

const BLOCK = 4096

function finder(extents: readonly Extent[]) {
  return async function* (from: number): AsyncGenerator<Extent> {
    for (const { offset, length } of extents) {
      const end = offset + length
      if (end > from) yield { offset: Math.max(offset, from), length: end - Math.max(offset, from) }
    }
  }
}

async function all(iterable: AsyncIterable<Window>): Promise<Window[]> {
  const list: Window[] = []
  for await (const window of iterable) list.push(window)
  return list
}

test('windows() makes one window of a terabyte of hole', async (t) => {
  const size = 2 ** 40
  t.deepEqual(await all(windows([{ start: 0, end: size }], finder([]))), [
    { start: 0, end: size, extents: [] },
  ])
})

test('windows() joins scattered blocks up to WINDOW_BYTES of data', async (t) => {
  const extents = Array.from({ length: 2048 }, (_, i) => ({ offset: i * 1024 * 1024 * 1024, length: BLOCK }))
  const list = await all(windows([{ start: 0, end: 2048 * 2 ** 30 }], finder(extents)))
  t.is(list.length, 2)
})

test('windows() partitions what is to do and keeps every allocated byte', async (t) => {
  const layout = fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 3000 })), {
    maxLength: 40,
  })
  await fc.assert(
    fc.asyncProperty(layout, fc.integer({ min: 0, max: BLOCK - 1 }), async (gaps, odd) => {
      const extents: Extent[] = []
      let at = 0
      for (const [gap, length] of gaps) {
        extents.push({ offset: at + gap * BLOCK, length: length * BLOCK })
        at += (gap + length) * BLOCK
      }
      const size = at + odd + 1
      const list = await all(windows([{ start: 0, end: size }], finder(extents)))
      let expected = 0
      for (const window of list) {
        t.is(window.start, expected)
        expected = window.end
        t.true(window.end === size || window.end % WINDOW_BYTES === 0)
        let data = 0
        for (const { offset, length } of window.extents) {
          t.true(offset >= window.start && offset + length <= window.end)
          t.is(Math.floor(offset / WINDOW_BYTES), Math.floor((offset + length - 1) / WINDOW_BYTES))
          data += length
        }
        t.true(data <= WINDOW_BYTES)
      }
      t.is(expected, size)
      const sum = (items: readonly Extent[]) => items.reduce((total, { length }) => total + length, 0)
      t.is(sum(list.flatMap((window) => window.extents)), sum(extents))
    }),
    { numRuns: 100 },
  )
})

test('windows() covers only the ranges asked for', async (t) => {
  const extents = [{ offset: 0, length: 64 * WINDOW_BYTES }]
  const todo = [
    { start: 3 * WINDOW_BYTES, end: 5 * WINDOW_BYTES },
    { start: 9 * WINDOW_BYTES, end: 10 * WINDOW_BYTES },
  ]
  const list = await all(windows(todo, finder(extents)))
  t.deepEqual(
    list.map(({ start, end }) => [start / WINDOW_BYTES, end / WINDOW_BYTES]),
    [
      [3, 4],
      [4, 5],
      [9, 10],
    ],
  )
})

test('windows() widens extents to whole blocks and joins those that touch', async (t) => {
  const extents = [
    { offset: 512, length: 512 },
    { offset: 2048, length: 1024 },
    { offset: 4096, length: 100 },
    { offset: 20_480, length: 1 },
  ]
  const [window] = await all(windows([{ start: 0, end: 20_500 }], finder(extents)))
  t.deepEqual(window.extents, [
    { offset: 0, length: 8192 },
    { offset: 20_480, length: 20 },
  ])
})
