import test from 'ava'
import type { MigratorContext } from '../../../transfer/migrator.ts'
import { applyChanges, previewChanges } from '../../../transfer/migrators/apply.ts'
import { type GuestContent, memoryGuest } from '../../../transfer/migrators/memory-guest.ts'
import { resolveMigrator } from '../../../transfer/migrators/registry.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

const MACS = ['52:54:00:00:00:01', '52:54:00:00:00:02']
const context: MigratorContext = {
  signal: new AbortController().signal,
  machine: { name: 'web', macs: MACS },
}

/** The texts of a guest after adapt-guest, after a check that a second run would change nothing and that undo is exact. */
async function adapted(
  contents: Record<string, GuestContent>,
  input: object,
): Promise<Record<string, string>> {
  const migrator = await resolveMigrator('adapt-guest', '1.0.0')
  const guest = memoryGuest(contents)
  const changes = await previewChanges(guest, [{ migrator, input }], context)
  const undo = await applyChanges(guest, changes)
  const texts = guest.texts()
  await applyChanges(guest, undo)
  const restored = guest.texts()
  const untouched = memoryGuest(contents).texts()
  if (JSON.stringify(restored) !== JSON.stringify(untouched))
    throw new Error('Undo did not restore the guest')
  return texts
}

test('adapt-guest names the guest, in hosts too', async (t) => {
  const texts = await adapted(
    {
      '/etc/hostname': 'old\n',
      '/etc/hosts': '127.0.0.1\tlocalhost\n127.0.1.1\told.example.org\told # me\n10.0.0.9 olds db\n',
    },
    { hostname: 'new' },
  )
  t.is(texts['/etc/hostname'], 'new\n')
  t.is(texts['/etc/hosts'], '127.0.0.1\tlocalhost\n127.0.1.1\tnew.example.org\tnew # me\n10.0.0.9 olds db\n')
})

test('adapt-guest names the guest by its domain, and adds it to hosts', async (t) => {
  const texts = await adapted(
    { '/etc/hostname': '# name\nold\n', '/etc/hosts': '127.0.0.1 localhost\n::1 localhost\n' },
    { hostname: 'new.example.org' },
  )
  t.is(texts['/etc/hostname'], '# name\nnew.example.org\n')
  t.is(texts['/etc/hosts'], '127.0.0.1 localhost\n127.0.1.1\tnew.example.org new\n::1 localhost\n')
})

test('adapt-guest keeps cloud-init from naming the guest back', async (t) => {
  const texts = await adapted({ '/etc/hostname': 'old\n', '/etc/cloud/cloud.cfg': '' }, { hostname: 'new' })
  t.is(texts['/etc/cloud/cloud.cfg.d/99-fluidcloud-hostname.cfg'], 'preserve_hostname: true\n')
})

test('adapt-guest makes /etc/hostname only where systemd reads it', async (t) => {
  const texts = await adapted({ '/etc/os-release': '', '/usr/lib/systemd/systemd': '' }, { hostname: 'new' })
  t.is(texts['/etc/hostname'], 'new\n')
  await t.throwsAsync(adapted({ '/etc/os-release': '' }, { hostname: 'new' }), { code: 'GUEST_UNSUPPORTED' })
})

test('adapt-guest refuses what is no guest of Linux', async (t) => {
  await t.throwsAsync(adapted({ '/Windows/x': '' }, { hostname: 'new' }), { code: 'GUEST_UNSUPPORTED' })
})

for (const [what, input] of Object.entries({
  'an unknown key': { hostnam: 'x' },
  'a name with a space': { hostname: 'a b' },
  'a name with a line end': { hostname: 'a\n' },
  'no object': 'x',
})) {
  test(`adapt-guest refuses ${what}`, async (t) => {
    const migrator = await resolveMigrator('adapt-guest', '1')
    t.throws(() => migrator.check(input), { code: 'USAGE' })
  })
}

test('resolveMigrator() refuses other majors, unknown names and versions', async (t) => {
  await refusedWith(t, 'VERSION_UNSUPPORTED', resolveMigrator('adapt-guest', '2.0.0'))
  await refusedWith(t, 'POLICY_DENIED', resolveMigrator('unknown', '1.0.0'))
  await refusedWith(t, 'USAGE', resolveMigrator('adapt-guest', 'latest'))
  t.is((await resolveMigrator('adapt-guest', '1.7.3')).name, 'adapt-guest')
})
