import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { adaptMachine } from '../../../agent/conduit/target-adapt.ts'
import type { PlannedMachine } from '../../../protocol/relocation-message.ts'
import type { WritableGuestFiles } from '../../../transfer/guest-files.ts'
import type { EditMigrator } from '../../../transfer/migrator.ts'
import { memoryGuest } from '../../../transfer/migrators/memory-guest.ts'
import { override } from '../../../agent/mesh/override.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)

/** Writes a name, and a secret beside it. */
const naming: EditMigrator = {
  name: 'naming',
  version: '1.0.0',
  accepts: [],
  produces: [],
  check() {},
  async changes(guest, input) {
    const name = (input as { name: string }).name
    const before = await guest.read('/etc/hostname')
    const secret = await guest.read('/etc/secret')
    return [
      { path: '/etc/hostname', before, after: utf8(`${name}\n`) },
      { path: '/etc/secret', before: secret, after: utf8('hidden-word\n'), secret: true },
    ]
  },
}

const planned = {
  machine: { name: 'web', nics: [{ mac: '52:54:00:00:00:01' }] },
  disks: [],
  steps: [{ migrator: 'naming', version: '1.0.0', input: { name: 'there' } }],
} as unknown as PlannedMachine

/** The guest stays as it is when a run disposes it. */
function kept(guest: WritableGuestFiles, members: Partial<Record<keyof WritableGuestFiles, unknown>> = {}) {
  return override(guest, { ...members, [Symbol.asyncDispose]: async () => {} })
}

function adapting(folder: string, guest: WritableGuestFiles) {
  const told: string[] = []
  const run = adaptMachine(planned, {
    folder,
    disks: [],
    signal: new AbortController().signal,
    migrator: async () => naming,
    onChange: (path, diff) => told.push(`${path}\n${diff}`),
    openGuest: async () => guest,
  })
  return { told, run }
}

test('adaptMachine() changes the guest, tells what changed, and never what is secret', async (t) => {
  const folder = await tempDir(t)
  const guest = memoryGuest({ '/etc/hostname': 'here\n' })
  const { told, run } = adapting(folder, kept(guest))
  await run
  t.is(Buffer.from((await guest.read('/etc/hostname'))!).toString(), 'there\n')
  t.true(told[0]?.includes('+there'))
  t.false(told.join('\n').includes('hidden-word'))
  const [name] = await readdir(folder)
  t.is((await stat(join(folder, name))).mode & 0o077, 0)
})

test('adaptMachine() that was cut off comes to the same end when it is done again', async (t) => {
  const folder = await tempDir(t)
  const guest = memoryGuest({ '/etc/hostname': 'here\n' })
  let writes = 0
  const failing = kept(guest, {
    write: async (path: string, bytes: Uint8Array, options?: object) => {
      if (++writes > 1) throw new Error('killed')
      return guest.write(path, bytes, options)
    },
  })
  await t.throwsAsync(adapting(folder, failing).run, { message: /killed/ })
  t.is(Buffer.from((await guest.read('/etc/hostname'))!).toString(), 'there\n')
  t.is(await guest.read('/etc/secret'), undefined)
  await adapting(folder, kept(guest)).run
  t.is(Buffer.from((await guest.read('/etc/secret'))!).toString(), 'hidden-word\n')
  const kept_ = JSON.parse(await readFile(join(folder, 'changes-web.json'), 'utf8')) as { before?: string }[]
  t.is(Buffer.from(kept_[0].before!, 'base64').toString(), 'here\n')
})
