import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { validateDestinationName } from '../../protocol/destination.ts'
import { openDestinationFolder, pathIn, resolveDestinationName } from '../../transfer/destination-name.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const escapes: Record<string, string> = {
  nothing: '',
  'an absolute path': '/etc/passwd',
  'the folder above': '..',
  'a path to the folder above': '../disk.raw',
  'a path up in the middle': 'a/../../disk.raw',
  'a path up at the end': 'a/..',
  'the folder itself': '.',
  'a dot in the middle': 'a/./disk.raw',
  'an empty part': 'a//disk.raw',
  'a trailing slash': 'disk.raw/',
  'two leading slashes': '//etc/passwd',
  'a NUL': 'disk.raw\0.txt',
  'a line feed': 'disk\nraw',
  'an escape sequence': 'disk\u001b[2J',
  'a C1 control': 'disk\u0085raw',
  'a line separator': 'disk\u2028raw',
  'a lone surrogate': 'disk\ud800',
  'a backslash': '..\\disk.raw',
  'a staging name': '.disk.raw.job.part',
  'a hidden folder': '.ssh/authorized_keys',
  'a part of 256 bytes': 'ä'.repeat(128),
  'a name of 1025 bytes': `${'a/'.repeat(512)}b`,
}

for (const [what, name] of Object.entries(escapes)) {
  test(`validateDestinationName() refuses ${what}`, async (t) => {
    t.throws(() => validateDestinationName(name), { code: 'NAME_INVALID' })
    const folder = await tempDir(t)
    await t.throwsAsync(openDestinationFolder(folder, name), { code: 'NAME_INVALID' })
    await t.throwsAsync(resolveDestinationName(folder, name), { code: 'NAME_INVALID' })
    t.deepEqual(await readdir(folder), [])
  })
}

test('validateDestinationName() takes ordinary names', (t) => {
  t.deepEqual(validateDestinationName('disk.raw'), ['disk.raw'])
  t.deepEqual(validateDestinationName('web/Größe 1 (копия).qcow2'), ['web', 'Größe 1 (копия).qcow2'])
  t.deepEqual(validateDestinationName('a..b/c...'), ['a..b', 'c...'])
})

test('validateDestinationName() takes nothing that leads out, whatever the text', (t) => {
  const part = fc.oneof(fc.string(), fc.constantFrom('..', '.', '', '/', '\\', '\0', 'a'))
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const name = parts.join('/')
      let segments: string[]
      try {
        segments = validateDestinationName(name)
      } catch {
        return true
      }
      return join('/granted', ...segments) === `/granted/${name}`
    }),
  )
  t.pass()
})

test('openDestinationFolder() makes missing folders, private ones', async (t) => {
  const folder = await tempDir(t)
  await using opened = await openDestinationFolder(folder, 'a/b/disk.raw')
  t.is(opened.path, join(folder, 'a/b'))
  t.is(opened.leaf, 'disk.raw')
  t.is((await stat(join(folder, 'a'))).mode & 0o777, 0o700)
  await writeFile(pathIn(opened, 'x'), 'x')
  t.true(existsSync(join(folder, 'a/b/x')))
})

test('openDestinationFolder() never passes through a symbolic link', async (t) => {
  const [folder, outside] = [await tempDir(t), await tempDir(t)]
  await symlink(outside, join(folder, 'out'))
  await symlink('.', join(folder, 'self'))
  await mkdir(join(folder, 'real'))
  await symlink(outside, join(folder, 'real/deep'))
  await symlink('/nowhere', join(folder, 'broken'))
  for (const name of ['out/disk', 'out/sub/disk', 'self/disk', 'real/deep/disk', 'broken/disk']) {
    const expected = { code: 'NAME_INVALID', message: /symbolic link/ }
    await t.throwsAsync(openDestinationFolder(folder, name), expected, name)
    await t.throwsAsync(resolveDestinationName(folder, name), expected, name)
  }
  t.deepEqual(await readdir(outside), [])
})

test('openDestinationFolder() stays where it is when a folder is swapped for a link', async (t) => {
  const [folder, outside] = [await tempDir(t), await tempDir(t)]
  await using opened = await openDestinationFolder(folder, 'sub/disk.raw')
  await rename(join(folder, 'sub'), join(folder, 'moved'))
  await symlink(outside, join(folder, 'sub'))
  await writeFile(pathIn(opened, 'disk.raw'), 'x')
  t.deepEqual(await readdir(outside), [])
  t.deepEqual(await readdir(join(folder, 'moved')), ['disk.raw'])
})

test('openDestinationFolder() takes a granted folder that is a link, and says when a file is in the way', async (t) => {
  const folder = await tempDir(t)
  await mkdir(join(folder, 'real'))
  await symlink('real', join(folder, 'granted'))
  await using opened = await openDestinationFolder(join(folder, 'granted'), 'disk')
  t.is(opened.path, join(folder, 'real'))
  await writeFile(join(folder, 'file'), '')
  await t.throwsAsync(openDestinationFolder(folder, 'file/disk'), {
    code: 'NAME_INVALID',
    message: /is a file/,
  })
  await t.throwsAsync(openDestinationFolder(join(folder, 'none'), 'disk'), { code: 'TARGET_WRITE' })
})

test('resolveDestinationName() creates nothing', async (t) => {
  const folder = await tempDir(t)
  t.is(await resolveDestinationName(folder, 'a/b/disk'), join(folder, 'a/b/disk'))
  t.is(await resolveDestinationName(folder, 'disk'), join(folder, 'disk'))
  t.deepEqual(await readdir(folder), [])
  await symlink('/etc/passwd', join(folder, 'link'))
  await t.throwsAsync(resolveDestinationName(folder, 'link'), { code: 'NAME_INVALID' })
})
