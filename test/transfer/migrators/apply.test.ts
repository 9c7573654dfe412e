import test from 'ava'
import type { FileChange, GuestFiles } from '../../../transfer/guest-files.ts'
import type { EditMigrator, MigratorContext } from '../../../transfer/migrator.ts'
import { applyChanges, previewChanges, undoOf } from '../../../transfer/migrators/apply.ts'
import { memoryGuest } from '../../../transfer/migrators/memory-guest.ts'
import { showChange } from '../../../transfer/migrators/show-change.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

const context: MigratorContext = { signal: new AbortController().signal, machine: { name: 'm', macs: [] } }
const bytes = (text: string) => Uint8Array.from(Buffer.from(text))

/** A Migrator that changes what `changes` says. */
function migrator(changes: (guest: GuestFiles) => Promise<FileChange[]>): EditMigrator {
  const facts = { name: 'test', version: '1.0.0', accepts: ['guest/linux'], produces: ['guest/linux'] }
  return { ...facts, check() {}, changes: async (guest) => changes(guest) }
}

const step = (changes: (guest: GuestFiles) => Promise<FileChange[]>) => ({
  migrator: migrator(changes),
  input: {},
})

/** Appends text to a file. */
const append = (path: string, text: string) =>
  step(async (guest) => {
    const before = await guest.read(path)
    return [{ path, before, after: bytes(Buffer.from(before ?? []).toString() + text) }]
  })

test('previewChanges() shows later steps what earlier ones changed, and gives one change a file', async (t) => {
  const guest = memoryGuest({ '/etc/a': 'a', '/etc/link': { linksTo: 'a' } })
  const steps = [append('/etc/a', '1'), append('/etc/b', '2'), append('/etc/link', '3')]
  const changes = await previewChanges(guest, steps, context)
  t.deepEqual(changes, [
    { path: '/etc/a', before: bytes('a'), after: bytes('a13'), mode: 0o644, uid: 0, gid: 0 },
    { path: '/etc/b', after: bytes('2') },
  ])
  t.deepEqual(guest.texts(), { '/etc/a': 'a' })
})

test('previewChanges() leaves out what is again as it was', async (t) => {
  const guest = memoryGuest({ '/etc/a': 'a' })
  const back = step(async (seen) => [
    { path: '/etc/a', before: await seen.read('/etc/a'), after: bytes('a') },
    { path: '/etc/b', before: await seen.read('/etc/b') },
  ])
  t.deepEqual(await previewChanges(guest, [append('/etc/a', '1'), append('/etc/b', '1'), back], context), [])
})

test('previewChanges() shows steps files and folders that are to be made, and none that are to go', async (t) => {
  const guest = memoryGuest({ '/etc/a': 'a' })
  const looks = step(async (seen) => {
    t.deepEqual(await seen.list('/etc'), ['new'])
    t.deepEqual(await seen.list('/etc/new'), ['b'])
    t.like(await seen.entry('/etc/new'), { kind: 'directory' })
    t.like(await seen.entry('/etc/new/b'), { kind: 'file', sizeBytes: 1 })
    t.is(await seen.entry('/etc/a'), undefined)
    return []
  })
  const first = step(async () => [
    { path: '/etc/a', before: bytes('a') },
    { path: '/etc/new/b', after: bytes('b') },
  ])
  t.is((await previewChanges(guest, [first, looks], context)).length, 2)
})

const LIES: Readonly<Record<string, unknown>> = {
  'no list': 'x',
  'a relative path': [{ path: 'etc/a', after: bytes('x') }],
  'a path that leads up': [{ path: '/etc/../a', after: bytes('x') }],
  'a path with a control character': [{ path: '/etc/a\n', after: bytes('x') }],
  'no path': [{ after: bytes('x') }],
  'a before that is not there': [{ path: '/etc/a', before: bytes('b'), after: bytes('x') }],
  'no before where there is a file': [{ path: '/etc/a', after: bytes('x') }],
  'a path twice': [
    { path: '/etc/b', after: bytes('x') },
    { path: '/etc/b', after: bytes('x') },
  ],
  'a file twice, through a link': [
    { path: '/etc/a', before: bytes('a'), after: bytes('x') },
    { path: '/etc/link', before: bytes('a'), after: bytes('y') },
  ],
  'content that is text': [{ path: '/etc/b', after: 'x' }],
  'a mode that cannot be': [{ path: '/etc/b', after: bytes('x'), mode: 0o100_000 }],
  'too many changes': Array.from({ length: 1025 }, (_, i) => ({ path: `/etc/n${i}`, after: bytes('x') })),
}
for (const [what, changes] of Object.entries(LIES)) {
  test(`previewChanges() refuses a Migrator that gives ${what}`, async (t) => {
    const guest = memoryGuest({ '/etc/a': 'a', '/etc/link': { linksTo: 'a' } })
    const lying = step(async () => changes as FileChange[])
    await refusedWith(t, 'MIGRATOR_FAILED', previewChanges(guest, [lying], context))
  })
}

test('previewChanges() refuses files and changes that are too large', async (t) => {
  const large = (count: number, size: number) =>
    step(async () =>
      Array.from({ length: count }, (_, i) => ({ path: `/n${i}`, after: new Uint8Array(size) })),
    )
  const preview = async (count: number, size: number) =>
    previewChanges(memoryGuest(), [large(count, size)], context)
  t.is((await preview(8, 2 ** 20)).length, 8)
  await refusedWith(t, 'LIMIT_EXCEEDED', preview(1, 2 ** 20 + 1))
  await refusedWith(t, 'LIMIT_EXCEEDED', preview(9, 2 ** 20))
})

const CHANGES: readonly FileChange[] = [
  { path: '/etc/a', before: bytes('a'), after: bytes('A') },
  { path: '/etc/b', before: bytes('b'), mode: 0o600, uid: 1, gid: 2 },
  { path: '/etc/new/c', after: bytes('c'), mode: 0o640 },
]
const before = { '/etc/a': 'a', '/etc/b': { content: 'b', mode: 0o600, uid: 1, gid: 2 } }

test('applyChanges() writes all, and what it gives takes all back', async (t) => {
  const guest = memoryGuest(before)
  const undo = await applyChanges(guest, CHANGES)
  t.deepEqual(guest.texts(), { '/etc/a': 'A', '/etc/new/c': 'c' })
  t.like(await guest.entry('/etc/new/c'), { mode: 0o640 })
  await applyChanges(guest, undo)
  t.deepEqual(guest.texts(), { '/etc/a': 'a', '/etc/b': 'b' })
  t.like(await guest.entry('/etc/b'), { mode: 0o600, uid: 1, gid: 2 })
  t.deepEqual(undoOf(undo), CHANGES as FileChange[])
})

test('applyChanges() writes nothing when one file is not as planned', async (t) => {
  const guest = memoryGuest({ ...before, '/etc/b': 'other' })
  const error = await refusedWith(t, 'SOURCE_CHANGED', applyChanges(guest, CHANGES))
  t.true(error.message.includes('/etc/b'))
  t.deepEqual(guest.texts(), { '/etc/a': 'a', '/etc/b': 'other' })
})

for (const cutAt of [0, 1, 2, 3]) {
  test(`applyChanges() that was cut off before write ${cutAt} can be done again, and undone`, async (t) => {
    for (const after of ['again', 'undo'] as const) {
      const guest = memoryGuest(before)
      let writes = 0
      const cut = () => {
        if (writes++ === cutAt) throw new Error('Cut')
      }
      const breaking = {
        ...guest,
        write: async (...args: Parameters<typeof guest.write>) => (cut(), guest.write(...args)),
        remove: async (path: string) => (cut(), guest.remove(path)),
        sync: async () => cut(),
      }
      await t.throwsAsync(applyChanges(breaking, CHANGES), { message: 'Cut' })
      await applyChanges(guest, after === 'again' ? CHANGES : undoOf(CHANGES))
      t.deepEqual(
        guest.texts(),
        after === 'again' ? { '/etc/a': 'A', '/etc/new/c': 'c' } : { '/etc/a': 'a', '/etc/b': 'b' },
      )
    }
  })
}

test('showChange() is a unified diff', (t) => {
  const text = (middle: string) => bytes(`1\n2\n3\n4\n${middle}\n6\n7\n8\n9\n`)
  t.is(
    showChange({ path: '/etc/a', before: text('5'), after: text('five') }),
    '--- /etc/a\n+++ /etc/a\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n',
  )
  t.is(showChange({ path: '/a', after: bytes('x\n') }), '--- /dev/null\n+++ /a\n@@ -0,0 +1,1 @@\n+x\n')
})

test('showChange() shows no secrets', (t) => {
  const shown = showChange({
    path: '/etc/env',
    before: bytes('A=1\nPASSWORD=old\nURL=http://u:old@h\n'),
    after: bytes('A=1\nPASSWORD=new\nURL=http://u:new@h\n'),
  })
  t.is(
    shown,
    '--- /etc/env\n+++ /etc/env\n@@ -1,3 +1,3 @@\n A=1\n-PASSWORD=<hidden>\n-URL=http://u:<hidden>@h\n+PASSWORD=<hidden>\n+URL=http://u:<hidden>@h\n',
  )
  const secret = showChange({
    path: '/etc/x',
    before: bytes('abc'),
    after: bytes('de'),
    secret: true,
    note: 'N = 1',
  })
  t.is(secret, '--- /etc/x\n+++ /etc/x\n# N = 1\n# Content is secret: 3 bytes becomes 2 bytes\n')
})

test('showChange() is bounded, and says so of binary content', (t) => {
  const long = bytes('line\n'.repeat(100_000))
  const shown = showChange({ path: '/etc/x', after: long })
  t.true(shown.length <= 64 * 1024)
  t.regex(shown, /# Cut: \d+ more lines\n$/)
  t.regex(
    showChange({ path: '/etc/x', after: Uint8Array.of(0, 1) }),
    /# Content is binary: nothing becomes 2 bytes/,
  )
})
