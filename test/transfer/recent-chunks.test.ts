import test from 'ava'
import { randomBytes } from 'node:crypto'
import { createRecentTable, openRecentTable } from '../../transfer/recent-chunks.ts'

test('find() answers what put() remembered, beyond 32 bits too', (t) => {
  const table = openRecentTable(createRecentTable(1024))
  const digest = randomBytes(32)
  table.put(digest, 0, 0)
  t.is(table.find(digest, 0), 0)
  table.put(digest, 0, 2 ** 45 + 4096)
  t.is(table.find(digest, 0), 2 ** 45 + 4096)
  t.is(table.find(randomBytes(32), 0), undefined)
})

test('put() never grows the table and keeps most of what fits', (t) => {
  const memory = createRecentTable(4096)
  const table = openRecentTable(memory)
  const digests = randomBytes(32 * 2048)
  for (let i = 0; i < 2048; i++) table.put(digests, i * 32, i * 65_536)
  let found = 0
  for (let i = 0; i < 2048; i++) if (table.find(digests, i * 32) === i * 65_536) found++
  t.is(memory.byteLength, 4096 * 16)
  t.true(found > 1600, `${found} of 2048`)
})

test('find() sees what another view of the same memory put', (t) => {
  const memory = createRecentTable(1024)
  const digest = randomBytes(64)
  openRecentTable(memory).put(digest, 32, 12_288)
  t.is(openRecentTable(memory).find(digest, 32), 12_288)
})
