import test from 'ava'
import fc from 'fast-check'
import { freshRecord, type JobRecord } from '../../../agent/jobs/job-record.ts'
import { beginRound, cellsOf, renewedAtPeer, renewedBytes, requireOwner } from '../../../agent/jobs/rounds.ts'
import { Job } from '../../../agent/jobs/job.ts'
import { RangeSet } from '../../../protocol/extent.ts'
import { MAX_RANGES_PER_FRAME, WINDOW_BYTES } from '../../../protocol/limits.ts'

const CELL = WINDOW_BYTES

function jobOf(changes: Partial<JobRecord> = {}): Job {
  const record = freshRecord({
    job: '00'.repeat(16),
    direction: 'out',
    peer: 'peer',
    source: 'machine web, disk vda',
    destination: 'vda.raw',
    options: { verifyDeep: false, replace: false, format: 'raw', compression: 'auto' },
    sizeBytes: 10 * CELL + 100,
    rounds: { owner: 'mine', number: 0, url: '', epoch: '', last: false, renewed: [] },
    ...changes,
  })
  return new Job(record, { put: async () => {} }, (peer) => peer)
}

test('cellsOf() covers every range by whole cells, ascending, and ends with the volume', (t) => {
  const range = fc
    .tuple(fc.nat(10 * CELL), fc.nat(2 * CELL))
    .map(([start, length]) => ({ start, end: Math.min(start + length, 10 * CELL + 100) }))
  fc.assert(
    fc.property(fc.array(range), (ranges) => {
      const cells = cellsOf(ranges, 10 * CELL + 100)
      const set = new RangeSet(cells)
      for (const { start, end } of ranges) t.true(set.contains(start, end))
      for (const { start, end } of cells) {
        t.is(start % CELL, 0)
        t.true(end % CELL === 0 || end === 10 * CELL + 100)
      }
    }),
  )
})

test('cellsOf() closes the smallest gaps when one frame cannot name every range', (t) => {
  const many = Array.from({ length: MAX_RANGES_PER_FRAME * 3 }, (_, i) => ({
    start: i * 2 * CELL + (i > 10 ? CELL * 1000 : 0),
    end: i * 2 * CELL + (i > 10 ? CELL * 1000 : 0) + 1,
  }))
  const cells = cellsOf(many, 2 ** 42)
  t.true(cells.length <= MAX_RANGES_PER_FRAME)
  const set = new RangeSet(cells)
  t.true(many.every(({ start, end }) => set.contains(start, end)))
  t.false(set.intersects(50 * CELL, 900 * CELL), 'A wide gap is not closed before narrow ones')
})

test('cellsOf() refuses ranges outside the volume', (t) => {
  t.throws(() => cellsOf([{ start: 0, end: 101 }], 100), { instanceOf: RangeError })
  t.throws(() => cellsOf([{ start: -1, end: 1 }], 100), { instanceOf: RangeError })
})

test('beginRound() keeps what is renewed until the receiver has it, over rounds that came to nothing', async (t) => {
  const job = jobOf()
  await beginRound(job, { url: 'a', epoch: 'e1' }, { last: false })
  t.deepEqual(job.record.rounds?.renewed, [])
  job.record.snapshot = 'rounds e1'
  await beginRound(job, { url: 'b', epoch: 'e1', dirty: [{ start: 5, end: 6 }] }, { last: false })
  await beginRound(
    job,
    { url: 'c', epoch: 'e1', dirty: [{ start: CELL * 3, end: CELL * 3 + 1 }] },
    { last: true },
  )
  t.deepEqual(job.record.rounds, {
    owner: 'mine',
    number: 3,
    url: 'c',
    epoch: 'e1',
    last: true,
    renewed: [
      { start: 0, end: CELL },
      { start: 3 * CELL, end: 4 * CELL },
    ],
  })
  t.is(renewedBytes(job.record), 2 * CELL)
  await renewedAtPeer(job)
  t.deepEqual(job.record.rounds?.renewed, [])
})

test('beginRound() renews the whole volume when nobody knows what was written', async (t) => {
  const job = jobOf({ snapshot: 'rounds e1' })
  await beginRound(job, { url: 'a', epoch: 'e1' }, { last: false })
  await beginRound(job, { url: 'b', epoch: 'e1' }, { last: false })
  t.is(renewedBytes(job.record), job.record.sizeBytes)
  await beginRound(job, { url: 'c', epoch: 'e2', dirty: [] }, { last: false })
  t.is(renewedBytes(job.record), job.record.sizeBytes, 'What an epoch ago was written says nothing')
})

test('requireOwner() lets only the relocation that a job belongs to decide over it', (t) => {
  t.notThrows(() => requireOwner(jobOf(), 'mine'))
  t.throws(() => requireOwner(jobOf(), undefined), { message: /part of relocation mine/ })
  t.notThrows(() => requireOwner(jobOf({ rounds: undefined }), undefined))
})
