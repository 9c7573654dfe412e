import test from 'ava'
import fc from 'fast-check'
import { createRoot, ENTRY_BYTES, writeEntry } from '../../protocol/manifest.ts'
import { LeadingDigest } from '../../transfer/leading-digest.ts'

const WINDOW = 4 * 2 ** 20

/** Windows in order, with so many chunks each. */
function windowsOf(chunks: readonly number[]) {
  return chunks.map((count, at) => {
    const entries = new Uint8Array(count * ENTRY_BYTES)
    for (let i = 0; i < count; i++)
      writeEntry(entries, i, at * WINDOW + i * 100, 100, new Uint8Array(32).fill(at + i))
    return { start: at * WINDOW, end: (at + 1) * WINDOW, entries }
  })
}

test('LeadingDigest is that of the windows in order, however they come, and once each', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(5), { minLength: 1, maxLength: 20 }),
      fc.infiniteStream(fc.nat()),
      (chunks, random) => {
        const windows = windowsOf(chunks)
        const digest = new LeadingDigest(windows.length * WINDOW, 'x')
        const mixed = windows
          .map((window) => [random.next().value, window] as const)
          .sort(([a], [b]) => a - b)
        for (const [i, [, window]] of mixed.entries()) {
          digest.add(window)
          digest.add(mixed[random.next().value % (i + 1)][1])
        }
        const root = createRoot(windows.length * WINDOW, 'x')
        for (const { entries } of windows) root.update(entries)
        const sum = chunks.reduce((a, b) => a + b, 0)
        t.deepEqual(digest.finish(), { root: root.digest(), chunks: sum, dataBytes: sum * 100 })
      },
    ),
  )
})

test('LeadingDigest leaves out what finds no room behind a gap, and takes it when it comes again', (t) => {
  // Each is nearly a quarter of the room.
  const CHUNKS = Math.floor((1024 * 1024) / ENTRY_BYTES)
  const windows = windowsOf(Array.from({ length: 8 }, () => CHUNKS))
  const digest = new LeadingDigest(windows.length * WINDOW, 'x')
  // What waits takes room once.
  for (let i = 0; i < 5; i++) digest.add(windows[1])
  for (const window of windows.slice(1)) digest.add(window)
  digest.add(windows[0])
  t.is(digest.end, 5 * WINDOW)
  t.throws(() => digest.finish(), { code: 'VERIFY_MISMATCH', message: /only the first 20971520/ })
  for (const window of windows) digest.add(window)
  t.is(digest.finish().chunks, 8 * CHUNKS)
})
