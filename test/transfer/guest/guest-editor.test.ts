import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { MAX_GUEST_CHANGE_BYTES } from '../../../protocol/limits.ts'
import { createDiskReader } from '../../../transfer/guest/disk-reader.ts'
import { EXT_ROOT, openExtVolume, type ExtVolume } from '../../../transfer/guest/ext-volume.ts'
import { openWritableGuest } from '../../../transfer/guest/open-writable-guest.ts'
import { fileUrl, openSource } from '../../../transfer/open.ts'
import { makeFolderTree } from '../../helpers/folder-tree.ts'
import { checkExt, debugfs, makeExt, noMke2fs } from '../../helpers/guest-image.ts'
import { refusedWith } from '../../helpers/refused-with.ts'
import { sameTree } from '../../helpers/same-tree.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = noMke2fs()
const test = skip === undefined ? anyTest : anyTest.skip
// Alone: the others make files of this process too.
const serial = skip === undefined ? anyTest.serial : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

test(`write() keeps attributes, access lists and flags of what it replaces${why}`, async (t) => {
  const { image, folder, disks } = await guestOf(t, ['-t', 'ext4', '-I', '256'])
  // A capability as setcap writes it, an access list in the form of the disk, an attribute that needs a block of its own.
  const values: Readonly<Record<string, Buffer>> = {
    'security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex'),
    'security.selinux': Buffer.from('system_u:object_r:etc_t:s0\0'),
    'system.posix_acl_access': Buffer.from(
      '01000000010006000200040000002a00040004001000040020000400',
      'hex',
    ).subarray(0, 28),
    'user.long': Buffer.alloc(700, 'long'),
  }
  const commands: string[] = []
  for (const [name, value] of Object.entries(values)) {
    await writeFile(join(folder, name), value)
    commands.push(`ea_set -r -f ${join(folder, name)} /etc/passwd ${name}`)
  }
  await debugfs(image, [...commands, 'sif /etc/passwd flags 0x80010'])
  const before = await look(image, '/etc/passwd')
  t.is(before.attributes.length, 4)
  {
    await using guest = await openWritableGuest(disks)
    await guest.write('/etc/passwd', Buffer.from('new\n'))
    await guest.sync()
  }
  const after = await look(image, '/etc/passwd')
  t.deepEqual(after.attributes.toSorted(), before.attributes.toSorted())
  t.is(after.flags & 0x10, 0x10)
  t.is(after.mode, before.mode)
  t.is(after.text, 'new\n')
  // The other name of the old file still has the old content.
  t.is((await look(image, '/etc/passwd-too')).text, 'root:x:0:0:root:/root:/bin/sh\n')
  await checkExt(image)
})

test(`write() labels what it makes as the folder above${why}`, async (t) => {
  const { image, folder, disks } = await guestOf(t, ['-t', 'ext4', '-I', '256'])
  const label = Buffer.from('system_u:object_r:etc_t:s0\0')
  await writeFile(join(folder, 'label'), label)
  await debugfs(image, [`ea_set -r -f ${join(folder, 'label')} /etc security.selinux`])
  {
    await using guest = await openWritableGuest(disks)
    await guest.write('/etc/new', Buffer.from('new\n'))
    await guest.write('/etc/a/b/new', Buffer.from('new\n'))
    await guest.sync()
  }
  for (const path of ['/etc/new', '/etc/a', '/etc/a/b', '/etc/a/b/new'])
    t.deepEqual((await look(image, path)).attributes, [`security.selinux=${label.toString('hex')}`], path)
  await checkExt(image)
})

test(`write() and remove() take odd names for names, and nothing else changes${why}`, async (t) => {
  const { image, disks, content } = await guestOf(t, ['-t', 'ext4', '-b', '1024'])
  const names = [
    '-rf',
    '* ?',
    "it's",
    'a;b|c',
    'back\\slash\\',
    '#comment',
    'grün',
    '..x',
    '~',
    '$(id)',
    `${'n'.repeat(254)}x`,
  ]
  {
    await using guest = await openWritableGuest(disks)
    for (const name of names) await guest.write(`/etc/odd/${name}`, Buffer.from(name))
    t.deepEqual(await guest.list('/etc/odd'), names.toSorted())
    for (const name of ['quote"quote', '<2>', 'line\nrm /etc/hostname', '\x7f'])
      await refusedWith(t, 'GUEST_UNSUPPORTED', guest.write(`/etc/odd/${name}`, Buffer.from('x')))
    await refusedWith(t, 'GUEST_UNSUPPORTED', guest.write('/etc/new"folder/file', Buffer.from('x')))
    for (const name of names.slice(1)) await guest.remove(`/etc/odd/${name}`)
    await guest.sync()
    t.deepEqual(await guest.list('/etc/odd'), ['-rf'])
  }
  await checkExt(image)
  await mkdir(join(content, 'etc', 'odd'))
  await writeFile(join(content, 'etc', 'odd', '-rf'), '-rf')
  await withVolume(image, (volume) => sameTree(t, volume, content))
})

test(`write() works in folders with an index, and fills them further${why}`, async (t) => {
  const { image, disks, content } = await guestOf(t, ['-t', 'ext4', '-b', '1024'])
  {
    await using guest = await openWritableGuest(disks)
    for (const index of [0, 7, 150, 299]) {
      const name = `file-${index}-${'n'.repeat(index % 200)}`
      await guest.write(`/many/${name}`, Buffer.from('changed'))
      await writeFile(join(content, 'many', name), 'changed')
    }
    for (let index = 0; index < 12; index++) {
      await guest.write(`/many/new-${'m'.repeat(200)}-${index}`, Buffer.from('new'))
      await writeFile(join(content, 'many', `new-${'m'.repeat(200)}-${index}`), 'new')
    }
    await guest.sync()
  }
  await checkExt(image)
  await withVolume(image, (volume) => sameTree(t, volume, content))
})

test(`openWritableGuest() checks what has no journal and was not unmounted${why}`, async (t) => {
  const { image, disks, content } = await guestOf(t, ['-t', 'ext2'])
  // As a kernel leaves it: in use, and blocks that are taken but not marked yet.
  const [block] = /^\d+/m.exec(await debugfs(image, ['blocks /size-70001'])) ?? []
  await debugfs(image, [`freeb ${block} 9`, 'ssv state 0'])
  await t.throwsAsync(checkExt(image))
  {
    await using guest = await openWritableGuest(disks)
    await guest.write('/etc/hostname', Buffer.from('new\n'))
  }
  await checkExt(image)
  await writeFile(join(content, 'etc', 'hostname'), 'new\n')
  await withVolume(image, (volume) => sameTree(t, volume, content))
})

test(`write() takes away what a run that was cut off left beside a file${why}`, async (t) => {
  const { image, folder, disks, content } = await guestOf(t, ['-t', 'ext4'])
  await writeFile(join(folder, 'left'), 'half')
  await debugfs(image, ['cd /etc', `write ${join(folder, 'left')} .fluidcloud-edit-0123456789ab`])
  {
    await using guest = await openWritableGuest(disks)
    await guest.write('/etc/hostname', Buffer.from('new\n'))
  }
  await checkExt(image)
  await writeFile(join(content, 'etc', 'hostname'), 'new\n')
  await withVolume(image, (volume) => sameTree(t, volume, content))
})

serial(
  `write() is done again where debugfs was killed, on a file system that was checked first${why}`,
  async (t) => {
    const { image, folder, disks } = await guestOf(t, ['-t', 'ext4', '-b', '1024'])
    const bytes = Buffer.alloc(300_000, 'x')
    const name = `new-${'n'.repeat(100)}`
    // Its first file is made, and then it hangs at a pipe until it is killed: not even its end is written.
    await mkdir(join(folder, 'bin'))
    await writeFile(
      join(folder, 'bin', 'debugfs'),
      `#!/bin/sh
PATH=\${PATH#*:}
[ -e '${folder}/pipe' ] && exit 137
commands=$(cat)
case $commands in *'write /'*) ;; *) printf '%s\\n' "$commands" | debugfs "$@"; exit ;; esac
mkfifo '${folder}/pipe'
printf '%s\\nwrite ${folder}/pipe hangs\\n' "$commands" | debugfs "$@" &
exec 9>'${folder}/pipe'
kill -9 $!
wait
exit 137
`,
      { mode: 0o755 },
    )
    const path = process.env.PATH
    process.env.PATH = `${join(folder, 'bin')}:${path}`
    try {
      await using guest = await openWritableGuest(disks)
      await refusedWith(t, 'TARGET_WRITE', guest.write(`/etc/${name}`, bytes, { uid: 1000 }))
    } finally {
      process.env.PATH = path
    }
    // How much of it reached the image is chance: mostly a name of an inode that no bitmap knows.
    await withVolume(image, async (volume) => void t.true(volume.needsCheck))
    {
      await using guest = await openWritableGuest(disks)
      await checkExt(image)
      t.is(await guest.entry(`/etc/${name}`), undefined)
      await guest.write(`/etc/${name}`, bytes, { uid: 1000 })
      await guest.sync()
      t.is((await guest.entry(`/etc/${name}`))?.uid, 1000)
      const found = await guest.read(`/etc/${name}`, { maxBytes: bytes.length })
      t.true(found && bytes.equals(found))
    }
    await checkExt(image)
    // What the check found of the file that was cut off may lie in lost+found.
    await withVolume(image, async (volume) => void t.false(volume.needsCheck))
  },
)

test(`sync() counts quotas anew${why}`, async (t) => {
  const { image, disks } = await guestOf(t, ['-t', 'ext4', '-O', 'quota'])
  await using guest = await openWritableGuest(disks)
  await guest.write('/etc/large', Buffer.alloc(500_000, 'x'), { uid: 1000 })
  await guest.sync()
  await checkExt(image)
  t.is((await guest.entry('/etc/large'))?.uid, 1000)
})

test(`write() refuses what is too large, and leaves a full disk as it was${why}`, async (t) => {
  const { image, disks, content } = await guestOf(t, ['-t', 'ext4', '-b', '1024', '-m', '0'], 8)
  {
    await using guest = await openWritableGuest(disks)
    await refusedWith(t, 'LIMIT_EXCEEDED', guest.write('/etc/a', Buffer.alloc(MAX_GUEST_CHANGE_BYTES + 1)))
    await refusedWith(t, 'NO_SPACE', guest.write('/etc/a', Buffer.alloc(MAX_GUEST_CHANGE_BYTES, 'x')))
    await refusedWith(t, 'NO_SPACE', guest.write('/etc/hostname', Buffer.alloc(MAX_GUEST_CHANGE_BYTES, 'x')))
    await guest.sync()
  }
  await checkExt(image)
  await withVolume(image, (volume) => sameTree(t, volume, content))
})

serial(`openWritableGuest() leaves nothing behind${why}`, async (t) => {
  const { disks } = await guestOf(t, ['-t', 'ext4'])
  {
    await using guest = await openWritableGuest(disks)
    await guest.write('/etc/hostname', Buffer.from('x'))
  }
  const left = await readdir(tmpdir())
  t.deepEqual(
    left.filter((name) => name.startsWith(`fluidcloud-${process.pid}-`)),
    [],
  )
})

interface Looked {
  readonly mode: number
  readonly flags: number
  readonly text: string
  readonly attributes: string[]
}

async function look(image: string, path: string): Promise<Looked> {
  return withVolume(image, async (volume) => {
    let inode = await volume.inode(EXT_ROOT)
    for (const name of path.split('/').slice(1)) {
      const entry = (await volume.entries(inode)).find((found) => found.name === name)
      inode = await volume.inode(entry?.inode ?? 0)
    }
    const attributes = await volume.attributes(inode)
    return {
      mode: inode.mode,
      flags: inode.flags,
      text: inode.kind === 'file' ? (await volume.content(inode, 1e6)).toString() : '',
      attributes: attributes.map(({ name, value }) => `${name}=${value.toString('hex')}`),
    }
  })
}

async function withVolume<T>(image: string, use: (volume: ExtVolume) => Promise<T>): Promise<T> {
  await using source = await openSource(fileUrl(image))
  return await use(await openExtVolume(createDiskReader(source)))
}

async function guestOf(t: ExecutionContext, options: readonly string[], sizeMiB = 24) {
  const folder = await tempDir(t)
  const [image, content] = [join(folder, 'disk.raw'), join(folder, 'content')]
  await mkdir(content)
  await makeFolderTree(content, { trailingHole: !options.includes('inline_data') })
  await makeExt(image, { folder: content, sizeMiB, options })
  return { folder, image, content, disks: [{ id: 'vda', path: image, format: 'raw' as const }] }
}
