import test from 'ava'
import { ENTRY_BYTES, writeEntry } from '../../protocol/manifest.ts'
import { openWindow, wanted } from '../../transfer/open-window.ts'

/** A window of chunks that are all the same. */
function windowOf(chunks: number) {
  const entries = new Uint8Array(chunks * ENTRY_BYTES)
  for (let i = 0; i < chunks; i++) writeEntry(entries, i, i * 65_536, 65_536, new Uint8Array(32).fill(7))
  return openWindow(1, 0, chunks * 65_536, entries)
}

test('wanted() asks once for what occurs several times', (t) => {
  const window = windowOf(3)
  t.deepEqual(wanted(window), { bitmaps: Uint8Array.of(0b001), based: false })
  t.deepEqual([...window.missing], [1, 0, 0])
  t.deepEqual([...window.repeats], [[0, [1, 2]]])
})

test('wanted() expects each chunk that comes unasked, also those that are the same', (t) => {
  const window = windowOf(4)
  window.unasked = 2
  wanted(window)
  t.deepEqual([...window.missing], [1, 1, 0, 0])
  t.deepEqual([...window.repeats.values()].flat(), [2, 3])
})
