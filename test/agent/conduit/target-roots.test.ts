import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { requireRoots } from '../../../agent/conduit/target-roots.ts'
import { freshRecord, type JobRecord } from '../../../agent/jobs/job-record.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const ROOT = 'b3:aa'

/** A place of `peer` in a folder, and jobs that put something there. */
async function placed(folder: string) {
  const destination = 'vda.qcow2'
  const path = join(folder, destination)
  await writeFile(path, 'a volume')
  const { dev, ino } = await stat(path, { bigint: true })
  const places = [{ machine: 'web', disk: 'vda', destination, format: 'qcow2' as const }]
  const disks = [{ machine: 'web', disk: 'vda', root: ROOT, sizeBytes: 8 }]
  const moved = (format: 'raw' | 'qcow2', changes: Partial<JobRecord> = {}) =>
    freshRecord({
      job: 'ab'.repeat(16),
      direction: 'in',
      peer: 'peer',
      source: 'vda',
      destination,
      options: { verifyDeep: false, replace: true, format, compression: 'auto' },
      createdAt: 1,
      state: 'complete',
      root: ROOT,
      placed: `${dev}:${ino}`,
      target: { kind: 'file', folder, name: destination, format, replace: true, inPlace: false },
      ...changes,
    })
  const check = (...jobs: JobRecord[]) => requireRoots({ peer: 'peer', folder, places }, disks, jobs)
  return { moved, check }
}

test('requireRoots() takes a disk in the format that was planned, and in no other', async (t) => {
  const { moved, check } = await placed(await tempDir(t))
  await t.notThrowsAsync(check(moved('qcow2')))
  await t.throwsAsync(check(moved('raw')), { code: 'VERIFY_MISMATCH', message: /moved as raw/ })
})

test('requireRoots() heeds moves of others into the same folder', async (t) => {
  const { moved, check } = await placed(await tempDir(t))
  const other = { peer: 'other', createdAt: 2 }
  await t.throwsAsync(check(moved('qcow2'), moved('raw', { ...other, state: 'running' })), {
    code: 'VERIFY_MISMATCH',
  })
  await t.throwsAsync(check(moved('qcow2'), moved('raw', other)), { code: 'VERIFY_MISMATCH' })
  const elsewhere = { kind: 'file', folder: '/elsewhere', name: 'vda.qcow2', format: 'raw' } as const
  const target = { ...elsewhere, replace: true, inPlace: false }
  await t.notThrowsAsync(check(moved('qcow2'), moved('raw', { ...other, target })))
})
