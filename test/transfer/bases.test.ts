import test from 'ava'
import { createBases } from '../../transfer/bases.ts'
import { openWindow, wanted } from '../../transfer/open-window.ts'
import { verify } from '../../transfer/place.ts'
import type { LaneFrame } from '../../transfer/lane.ts'
import { collect } from '../helpers/collect.ts'
import { entriesOf } from '../helpers/rogue-lane.ts'
import { noise } from '../helpers/volume.ts'

const KiB = 1024
const chunk = noise(32 * KiB, 1)

/** A window with two wanted chunks, of which the second has an older version here. */
function asking() {
  const entries = entriesOf([
    { offset: 0, bytes: noise(4 * KiB, 2) },
    { offset: 64 * KiB, bytes: chunk },
  ])
  const window = openWindow(1, 0, 4096 * KiB, entries)
  const bases = createBases()
  bases.keep(window, 1, noise(32 * KiB, 3), { inPlace: true })
  return { window, bases, ...wanted(window) }
}

test('wanted() tells which of the wanted entries have an older version', (t) => {
  const { bitmaps, based } = asking()
  t.true(based)
  t.deepEqual([...bitmaps], [0b11, 0b10])
})

test('wanted() tells of no older version of what is not wanted', (t) => {
  const { window, bases } = asking()
  bases.keep(window, 0, noise(4 * KiB, 4), { inPlace: false })
  window.missing[1] = 0
  t.deepEqual([...wanted(window).bitmaps], [0b01, 0b01])
  t.deepEqual([...window.bases.keys()], [0])
})

test('compare() refuses checksums of another number of blocks', (t) => {
  for (const bytes of [28, 36]) {
    const { window, bases } = asking()
    t.throws(() => bases.compare(window, new Uint8Array(bytes)), { code: 'PROTOCOL_VIOLATION' })
  }
})

test('compare() refuses checksums that were not asked for, and a second time', (t) => {
  const { window, bases } = asking()
  t.deepEqual([...bases.compare(window, new Uint8Array(32))], [0xff])
  t.throws(() => bases.compare(window, new Uint8Array(32)), { code: 'PROTOCOL_VIOLATION' })
})

test('verify() refuses data before the blocks that are asked for', async (t) => {
  const { window } = asking()
  async function* frames(): AsyncGenerator<LaneFrame> {
    const message = { kind: 'data', window: 1, first: 0, count: 1, codec: 'raw', rawBytes: 4 * KiB } as const
    yield { message, payload: noise(4 * KiB, 2) }
  }
  const held = { complete: () => Promise.reject(new Error('Nothing is put together')) }
  await t.throwsAsync(collect(verify(new Map([[1, window]]), held)(frames())), { code: 'PROTOCOL_VIOLATION' })
})
