import test from 'ava'
import { HeldPlaces } from '../../../agent/jobs/held-places.ts'
import { freshRecord } from '../../../agent/jobs/job-record.ts'

const target = {
  kind: 'file',
  folder: '/granted',
  name: 'machines/web/vda.raw',
  format: 'raw',
  replace: true,
  inPlace: false,
} as const
const claim = { folder: target.folder, names: [target.name], createdAt: 1, isHeld: true }

test('HeldPlaces holds the places of a relocation until it claims them no more', (t) => {
  const places = new HeldPlaces()
  places.set('one', claim)
  t.true(places.has(target))
  t.false(places.has({ ...target, name: 'other.raw' }))
  t.false(places.has({ ...target, folder: '/elsewhere' }))
  t.false(places.has({ kind: 'block', path: '/dev/b' }))
  places.set('one', undefined)
  t.false(places.has(target))
})

test('HeldPlaces lets disks be moved where the newest relocation waits for them', (t) => {
  const places = new HeldPlaces()
  places.set('new', { ...claim, createdAt: 2, isHeld: false })
  places.set('old', claim)
  t.false(places.has(target))
  places.set('new', { ...claim, createdAt: 2 })
  t.true(places.has(target))
})

test('HeldPlaces.requireFree() refuses a job whose target is held', (t) => {
  const places = new HeldPlaces()
  const job = freshRecord({
    job: 'ab'.repeat(16),
    direction: 'in',
    peer: 'peer',
    source: 'vda',
    destination: target.name,
    options: { verifyDeep: false, replace: true, format: 'raw', compression: 'auto' },
    target,
  })
  t.notThrows(() => places.requireFree(job))
  places.set('one', claim)
  t.throws(() => places.requireFree(job), { code: 'NAME_BUSY' })
})
