/** What every reader and writer of a guest's files keeps to. An implementation gives a factory and gets a suite of ava tests. */
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import { MAX_GUEST_FILE_BYTES } from '../../protocol/limits.ts'
import type { WritableGuestFiles } from '../../transfer/guest-files.ts'
import type { GuestContent } from '../../transfer/migrators/memory-guest.ts'
import { refusedWith } from '../helpers/refused-with.ts'

export interface GuestUnderTest {
  /** Makes a guest with these files; what it needs goes with the test. */
  create(
    t: ExecutionContext,
    contents: Readonly<Record<string, GuestContent>>,
  ): Promise<{
    /** Opens it for writing; once at a time. */
    open(): Promise<WritableGuestFiles>
  }>
  readonly skip?: string
}

const CONTENTS: Readonly<Record<string, GuestContent>> = {
  '/etc/hostname': 'old\n',
  '/etc/empty': '',
  '/etc/secret': { content: 'key', mode: 0o640, uid: 1000, gid: 42 },
  '/etc/to-hostname': { linksTo: 'hostname' },
  '/etc/dangling': { linksTo: '/no/such/file' },
  '/etc/out': { linksTo: '../../../../../etc/hostname' },
  '/etc/loop': { linksTo: 'loop' },
  '/lib': { linksTo: 'usr/lib' },
  '/usr/lib/os-release': 'ID=debian\n',
  '/var/lib/empty': { folder: true, mode: 0o700 },
  '/var/lib/grün und blau': 'x',
}

/** Registers the suite under the name of the implementation. */
export function testGuestFiles(name: string, { create, skip }: GuestUnderTest): void {
  const test: TestFn = skip === undefined ? anyTest : (anyTest.skip as unknown as TestFn)
  const title = (criterion: string) => `${name} ${criterion}${skip === undefined ? '' : ` (${skip})`}`
  const guest = async (t: ExecutionContext) => (await create(t, CONTENTS)).open()
  const text = async (files: WritableGuestFiles, path: string) => {
    const bytes = await files.read(path)
    return bytes && Buffer.from(bytes).toString()
  }

  test(title('read() gives whole files, and undefined where there is none'), async (t) => {
    await using files = await guest(t)
    t.is(await text(files, '/etc/hostname'), 'old\n')
    t.is(await text(files, '/etc/empty'), '')
    t.is(await text(files, '/var/lib/grün und blau'), 'x')
    t.is(await files.read('/etc/none'), undefined)
    t.is(await files.read('/none/at/all'), undefined)
    t.is(await files.read('/etc/hostname/below'), undefined)
  })

  test(title('read() follows links within the guest, and none out of it'), async (t) => {
    await using files = await guest(t)
    t.is(await text(files, '/etc/to-hostname'), 'old\n')
    t.is(await text(files, '/lib/os-release'), 'ID=debian\n')
    t.is(await text(files, '/etc/out'), 'old\n')
    t.is(await files.read('/etc/dangling'), undefined)
    await refusedWith(t, 'GUEST_UNSUPPORTED', files.read('/etc/loop'))
  })

  test(title('read() refuses what is no file, and what is larger than allowed'), async (t) => {
    await using files = await guest(t)
    await refusedWith(t, 'GUEST_UNSUPPORTED', files.read('/etc'))
    await refusedWith(t, 'LIMIT_EXCEEDED', files.read('/etc/hostname', { maxBytes: 3 }))
    t.is((await files.read('/etc/hostname', { maxBytes: 4 }))?.length, 4)
    await files.write('/etc/large', new Uint8Array(MAX_GUEST_FILE_BYTES + 1))
    await refusedWith(t, 'LIMIT_EXCEEDED', files.read('/etc/large'))
  })

  test(title('entry() says what is there, of a link the link itself'), async (t) => {
    await using files = await guest(t)
    t.like(await files.entry('/etc/secret'), { kind: 'file', sizeBytes: 3, mode: 0o640, uid: 1000, gid: 42 })
    t.like(await files.entry('/etc/to-hostname'), { kind: 'link', linksTo: 'hostname' })
    t.like(await files.entry('/var/lib/empty'), { kind: 'directory', mode: 0o700 })
    t.like(await files.entry('/lib/os-release'), { kind: 'file', sizeBytes: 10 })
    t.is(await files.entry('/etc/none'), undefined)
    t.is(await files.entry('/none/at/all'), undefined)
  })

  test(title('list() gives names in order, and none where there is no folder'), async (t) => {
    await using files = await guest(t)
    t.deepEqual(
      await files.list('/etc'),
      Object.keys(CONTENTS)
        .flatMap((path) => (path.startsWith('/etc/') ? [path.slice(5)] : []))
        .toSorted(),
    )
    t.deepEqual(await files.list('/lib'), ['os-release'])
    t.deepEqual(await files.list('/var/lib/empty'), [])
    t.deepEqual(await files.list('/none'), [])
  })

  test(
    title('write() replaces a file, keeps owner and mode, and what was written is there when opened again'),
    async (t) => {
      const made = await create(t, CONTENTS)
      {
        await using files = await made.open()
        await files.write('/etc/secret', Buffer.from('another key'))
        await files.write('/etc/hostname', Buffer.alloc(100_000, 'ab'))
        t.like(await files.entry('/etc/secret'), { sizeBytes: 11, mode: 0o640, uid: 1000, gid: 42 })
        await files.sync()
      }
      await using again = await made.open()
      t.is(await text(again, '/etc/secret'), 'another key')
      t.like(await again.entry('/etc/secret'), { sizeBytes: 11, mode: 0o640, uid: 1000, gid: 42 })
      t.is(await text(again, '/etc/hostname'), 'ab'.repeat(50_000))
    },
  )

  test(title('write() makes files and the folders above'), async (t) => {
    await using files = await guest(t)
    await files.write('/var/lib/cloud/seed/nocloud/meta-data', Buffer.from('a'))
    t.is(await text(files, '/var/lib/cloud/seed/nocloud/meta-data'), 'a')
    t.like(await files.entry('/var/lib/cloud/seed'), { kind: 'directory', mode: 0o755, uid: 0, gid: 0 })
    t.like(await files.entry('/var/lib/cloud/seed/nocloud/meta-data'), { mode: 0o644, uid: 0, gid: 0 })
    await files.write('/etc/key', Buffer.from('k'), { mode: 0o600, uid: 7, gid: 8 })
    t.like(await files.entry('/etc/key'), { mode: 0o600, uid: 7, gid: 8 })
    await refusedWith(t, 'GUEST_UNSUPPORTED', files.write('/etc', Buffer.from('k')))
  })

  test(title('write() goes through a link, remove() takes the link away'), async (t) => {
    await using files = await guest(t)
    await files.write('/etc/to-hostname', Buffer.from('new\n'))
    t.is(await text(files, '/etc/hostname'), 'new\n')
    t.is((await files.entry('/etc/to-hostname'))?.kind, 'link')
    await files.remove('/etc/to-hostname')
    t.is(await files.entry('/etc/to-hostname'), undefined)
    t.is(await text(files, '/etc/hostname'), 'new\n')
  })

  test(title('remove() takes files away, and refuses folders'), async (t) => {
    await using files = await guest(t)
    await files.remove('/etc/hostname')
    await files.remove('/etc/hostname')
    await files.remove('/none/at/all')
    t.is(await files.read('/etc/hostname'), undefined)
    t.false((await files.list('/etc')).includes('hostname'))
    await refusedWith(t, 'GUEST_UNSUPPORTED', files.remove('/etc'))
  })
}
