import test from 'ava'
import { ENTRY_BYTES, writeEntry } from '../../protocol/manifest.ts'
import { Journal } from '../../transfer/journal.ts'
import type { JournalRecord } from '../../transfer/journal-record.ts'
import { createMemoryLevel } from '../../transfer/memory-level.ts'
import { collect } from '../helpers/collect.ts'
import { refusedWith } from '../helpers/refused-with.ts'

const JOB = new Uint8Array(16).fill(1)
const OTHER_JOB = new Uint8Array(16).fill(2)

function record(start: number, end: number): JournalRecord {
  const entries = Buffer.alloc(ENTRY_BYTES)
  writeEntry(entries, 0, start, end - start, Buffer.alloc(32, start), 0)
  return { start, end, entries }
}

async function ranges(journal: Journal): Promise<number[][]> {
  return (await collect(journal.records())).map(({ start, end }) => [start, end])
}

test('createMemoryLevel() gives a journal its records in order', async (t) => {
  const journal = await Journal.open(createMemoryLevel(), JOB)
  await journal.append([record(300, 400), record(0, 100)], { durable: true })
  await journal.append([record(100, 300)], { durable: false })
  t.deepEqual(await ranges(journal), [
    [0, 100],
    [100, 300],
    [300, 400],
  ])
})

test('createMemoryLevel() lets a journal replace what it recorded', async (t) => {
  const journal = await Journal.open(createMemoryLevel(), JOB)
  await journal.append([record(0, 100), record(100, 200)], { durable: true })
  await journal.append([record(50, 150)], { durable: true })
  t.deepEqual(await ranges(journal), [
    [0, 50],
    [50, 150],
    [150, 200],
  ])
})

test('createMemoryLevel() asks for room, and keeps nothing for which there is none', async (t) => {
  let free = 2 * (26 + 8 + ENTRY_BYTES)
  const journal = await Journal.open(
    createMemoryLevel((bytes) => (free -= bytes) >= 0),
    JOB,
  )
  await journal.append([record(0, 100), record(100, 200)], { durable: true })
  await refusedWith(t, 'LIMIT_EXCEEDED', journal.append([record(200, 300)], { durable: true }))
  t.deepEqual(await ranges(journal), [
    [0, 100],
    [100, 200],
  ])
})

test('createMemoryLevel() keeps jobs apart, and clears one alone', async (t) => {
  const level = createMemoryLevel()
  const [journal, other] = [await Journal.open(level, JOB), await Journal.open(level, OTHER_JOB)]
  await journal.append([record(0, 100)], { durable: true })
  await other.append([record(0, 50)], { durable: true })
  await journal.clear()
  t.deepEqual(await ranges(await Journal.open(level, JOB)), [])
  t.deepEqual(await ranges(await Journal.open(level, OTHER_JOB)), [[0, 50]])
})
