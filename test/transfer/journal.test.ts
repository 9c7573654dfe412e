import { randomBytes } from 'node:crypto'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { RangeSet } from '../../protocol/extent.ts'
import { ENTRY_BYTES, entryOffset, writeEntry } from '../../protocol/manifest.ts'
import { Journal } from '../../transfer/journal.ts'
import type { JournalRecord } from '../../transfer/journal-record.ts'
import { LeadingDigest } from '../../transfer/leading-digest.ts'
import { createMemoryLevel } from '../../transfer/memory-level.ts'
import { journaledDigest } from '../../transfer/root.ts'
import { collect } from '../helpers/collect.ts'
import { stateLevel } from '../helpers/state-level.ts'

const CELL = 4 * 2 ** 20
const CELLS = 24

/** A window over whole cells with one chunk in each; `version` names its bytes. */
function record(first: number, last: number, version: number): JournalRecord {
  const entries = new Uint8Array((last - first) * ENTRY_BYTES)
  for (let cell = first; cell < last; cell++) {
    writeEntry(entries, cell - first, cell * CELL + 4096, 65_536, new Uint8Array(32).fill(version))
  }
  return { start: first * CELL, end: last * CELL, entries }
}

/** The version that records tell of each cell; they must be in order and sound. */
function cellsOf(t: ExecutionContext, records: readonly JournalRecord[]): (number | undefined)[] {
  const read = Array.from<number | undefined>({ length: CELLS })
  let free = 0
  for (const { start, end, entries } of records) {
    t.true(start >= free && end > start, 'Records overlap or are out of order')
    free = end
    t.is(entries.length, ((end - start) / CELL) * ENTRY_BYTES)
    for (let cell = start / CELL, at = 0; cell < end / CELL; cell++, at += ENTRY_BYTES) {
      read[cell] = entries[at + ENTRY_BYTES - 1]
      t.is(entryOffset(entries, at / ENTRY_BYTES), cell * CELL + 4096)
    }
  }
  return read
}

const windowArbitrary = fc
  .tuple(
    fc.integer({ min: 0, max: CELLS - 1 }),
    fc.integer({ min: 1, max: 8 }),
    fc.integer({ min: 1, max: 255 }),
  )
  .map(([first, cells, version]) => ({ first, last: Math.min(first + cells, CELLS), version }))

/** Records of those that overlap none before them. */
function apart(windows: readonly { first: number; last: number; version: number }[]): JournalRecord[] {
  const covered = new RangeSet()
  return windows
    .map(({ first, last, version }) => record(first, last, version))
    .filter(({ start, end }) => {
      if (covered.intersects(start, end)) return false
      covered.add(start, end)
      return true
    })
}

type Forget = { forget: { first: number; last: number }[] }
type Step = 'clear' | 'reopen' | Forget | { first: number; last: number; version: number }[]
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.array(windowArbitrary, { minLength: 1, maxLength: 4 }) },
    { weight: 2, arbitrary: fc.constant<Step>('reopen') },
    { weight: 1, arbitrary: fc.constant<Step>('clear') },
    {
      weight: 2,
      arbitrary: fc.array(windowArbitrary, { maxLength: 4 }).map((forget): Step => ({ forget })),
    },
  ),
  { minLength: 1, maxLength: 12 },
)

for (const kind of ['level', 'memory'] as const) {
  test(`Journal holds of every cell what was recorded last, and nothing twice (${kind})`, async (t) => {
    const level = kind === 'level' ? (await stateLevel(t)).level : createMemoryLevel()
    await fc.assert(
      fc.asyncProperty(steps, async (list) => {
        const job = randomBytes(16)
        let journal = await Journal.open(level, job)
        const model = Array.from<number | undefined>({ length: CELLS })
        for (const step of list) {
          if (step === 'clear') {
            await journal.clear()
            model.fill(undefined)
          } else if (typeof step === 'object' && 'forget' in step) {
            const { forget } = step
            await journal.forget(forget.map(({ first, last }) => ({ start: first * CELL, end: last * CELL })))
            for (const { first, last } of forget) model.fill(undefined, first, last)
          } else if (step === 'reopen') {
            journal = await Journal.open(level, job)
            t.is(journal.dataBytes, model.filter((version) => version !== undefined).length * 65_536)
          } else {
            await journal.append(
              step.map(({ first, last, version }) => record(first, last, version)),
              { durable: false },
            )
            for (const { first, last, version } of step) model.fill(version, first, last)
          }
          const known = new RangeSet(
            model.flatMap((version, cell) =>
              version === undefined ? [] : [{ start: cell * CELL, end: (cell + 1) * CELL }],
            ),
          )
          t.deepEqual(journal.done.toBounds(), known.toBounds())
          t.deepEqual(cellsOf(t, await collect(journal.records())), model)
        }
      }),
      { numRuns: kind === 'level' ? 30 : 100, includeErrorInReport: true },
    )
  })
}

test('journaledDigest() of what was digested along is that of the records, whatever was taken back meanwhile', async (t) => {
  const level = createMemoryLevel()
  const volume = [CELLS * CELL, 'x'] as const
  let led = 0
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(steps, fc.constant<Step[]>([])),
      fc.array(windowArbitrary, { maxLength: 3 }),
      fc.boolean(),
      async (list, news, again) => {
        const job = randomBytes(16)
        let journal = await Journal.open(level, job)
        journal.digestAlong(...volume)
        for (const step of list) {
          if (again) journal.digestAlong(...volume)
          if (step === 'clear') await journal.clear()
          else if (step === 'reopen') journal = await Journal.open(level, job)
          else if ('forget' in step)
            await journal.forget(
              step.forget.map(({ first, last }) => ({ start: first * CELL, end: last * CELL })),
            )
          else
            for (const { first, last, version } of step)
              await journal.append([record(first, last, version)], { durable: false })
        }
        const pending = apart(news)
        const missing = journal.done
          .clone()
          .addAll(pending)
          .complement(CELLS * CELL)
        // From the end on, so that all of it has to wait for what lies before.
        for (const { start, end } of [...missing].reverse())
          await journal.append([record(start / CELL, end / CELL, 77)], { durable: false })
        const whole = await collect((await Journal.open(level, job)).recordsWith(pending))
        const expected = new LeadingDigest(...volume)
        for (const one of whole) expected.add(one)
        const { takeLeading } = Journal.prototype
        journal.takeLeading = (...of) => {
          const leading = takeLeading.apply(journal, of)
          if (leading.end > 0) led++
          return leading
        }
        t.deepEqual(await journaledDigest(journal, ...volume, pending), expected.finish())
      },
    ),
    { numRuns: 200, includeErrorInReport: true },
  )
  t.true(led > 40, `${led} began with what was digested along`)
})

test('recordsWith() has pending windows hold where they lie, and the rest of what is recorded there', async (t) => {
  const { level } = await stateLevel(t)
  await fc.assert(
    fc.asyncProperty(
      fc.array(windowArbitrary, { maxLength: 6 }),
      fc.array(windowArbitrary, { maxLength: 4 }),
      async (recorded, news) => {
        const journal = await Journal.open(level, randomBytes(16))
        const model = Array.from<number | undefined>({ length: CELLS })
        await journal.append(
          recorded.map(({ first, last, version }) => record(first, last, version)),
          { durable: false },
        )
        for (const { first, last, version } of recorded) model.fill(version, first, last)
        const pending = apart(news)
        for (const { start, end, entries } of pending)
          model.fill(entries[ENTRY_BYTES - 1], start / CELL, end / CELL)
        t.deepEqual(cellsOf(t, await collect(journal.recordsWith(pending))), model)
      },
    ),
    { numRuns: 60, includeErrorInReport: true },
  )
})

test('Journal keeps jobs apart, whatever their ids', async (t) => {
  const { level } = await stateLevel(t)
  const ids = [Buffer.alloc(16, 0), Buffer.alloc(16, 0xff), Buffer.alloc(16, 0x7f)]
  for (const [i, id] of ids.entries())
    await (await Journal.open(level, id)).append([record(i, i + 1, i + 1)], { durable: true })
  await (await Journal.open(level, ids[0])).clear()
  for (const [i, id] of ids.entries()) {
    const { done } = await Journal.open(level, id)
    t.deepEqual(done.toBounds(), i === 0 ? [] : [i * CELL, (i + 1) * CELL])
  }
})

test('append() records holes: a window without entries is durable too', async (t) => {
  const { level } = await stateLevel(t)
  const job = randomBytes(16)
  await (
    await Journal.open(level, job)
  ).append([{ start: 0, end: 2 ** 50, entries: new Uint8Array() }], { durable: true })
  const journal = await Journal.open(level, job)
  t.true(journal.done.contains(0, 2 ** 50))
  t.is(journal.dataBytes, 0)
})

test('append() does not say what it could not write', async (t) => {
  const { level } = await stateLevel(t)
  const journal = await Journal.open(level, randomBytes(16))
  await level.close()
  await t.throwsAsync(journal.append([record(0, 1, 1)], { durable: true }))
  t.is(journal.done.totalBytes, 0)
})
