import { mkdir, open, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { openWritableGuest } from '../../../transfer/guest/open-writable-guest.ts'
import { parseLvmText } from '../../../transfer/guest/lvm-text.ts'
import { surveyDisks, type GuestVolume } from '../../../transfer/guest/guest-volume.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { fileUrl, openSource } from '../../../transfer/open.ts'
import { bufferSource } from '../../helpers/buffer-source.ts'
import { makeFolderTree } from '../../helpers/folder-tree.ts'
import { checkExt, makeExt, noMke2fs } from '../../helpers/guest-image.ts'
import { hasProgram, loopDevice, noLoopDevices, run } from '../../helpers/programs.ts'
import { refusedWith } from '../../helpers/refused-with.ts'
import { sameTree } from '../../helpers/same-tree.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = noMke2fs() ?? noLoopDevices() ?? (hasProgram('lvcreate') ? undefined : 'needs lvm2')
const test = skip === undefined ? anyTest.serial : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`
const MiB = 1024 * 1024
/** What the tools of LVM do without a kernel that maps devices. */
const CONFIG = 'activation { udev_sync=0 udev_rules=0 monitoring=0 } backup { backup=0 archive=0 }'

test(`surveyDisks() finds logical volumes, and openWritableGuest() edits one in one piece${why}`, async (t) => {
  const { image, content } = await group(t, ['-n root -L 32M', '-n swap_1 -L 8M'])
  const volumes = await survey(image)
  t.deepEqual(
    volumes.map(({ name, fileSystem }) => [name, fileSystem.kind]),
    [
      ['vda', 'lvm'],
      ['debian-vg/root', 'empty'],
      ['debian-vg/swap_1', 'empty'],
    ],
  )
  const [{ offset, sizeBytes }] = volumes[1].pieces
  t.is(sizeBytes, 32 * MiB)
  await writeFile(join(content, 'etc', 'fstab'), '/dev/mapper/debian--vg-root / ext4 defaults 0 1\n')
  await makeExt(image, { folder: content, offset, sizeMiB: 32 })
  {
    await using guest = await openWritableGuest([{ id: 'vda', path: image, format: 'raw' }])
    await guest.write('/etc/hostname', Buffer.from('moved\n'))
    await guest.sync()
  }
  await checkExt(image, offset)
  await writeFile(join(content, 'etc', 'hostname'), 'moved\n')
  await using source = await openSource(fileUrl(image))
  const [, root] = (await surveyDisks([{ id: 'vda', source }]))[0].volumes
  if (!root.ext) return t.fail(root.problem)
  await sameTree(t, root.ext, content)
})

test(`surveyDisks() reads a logical volume in pieces; openWritableGuest() says why it cannot edit it${why}`, async (t) => {
  const { image, content } = await group(t, [
    '-n root -L 16M',
    '-n other -L 8M',
    'extend +16M debian-vg/root',
  ])
  const { pieces } = (await survey(image))[1]
  t.is(pieces.length, 2)
  // Made in one piece, then laid out as the volume is.
  const whole = `${image}.ext`
  await makeExt(whole, { folder: content, sizeMiB: 32 })
  const bytes = await readFile(whole)
  await using file = await open(image, 'r+')
  let done = 0
  for (const { offset, sizeBytes } of pieces) {
    await file.write(bytes, done, sizeBytes, offset)
    done += sizeBytes
  }
  const [, root] = await survey(image)
  await using source = await openSource(fileUrl(image))
  const [, again] = (await surveyDisks([{ id: 'vda', source }]))[0].volumes
  t.is(root.fileSystem.kind, 'ext4')
  if (!again.ext) return t.fail(again.problem)
  await sameTree(t, again.ext, content)
  await using guest = await openWritableGuest([{ id: 'vda', path: image, format: 'raw' }])
  const error = await refusedWith(t, 'GUEST_UNSUPPORTED', guest.write('/etc/hostname', Buffer.from('x')))
  t.regex(error.message, /in pieces/)
})

test(`openWritableGuest() does not edit what LVM keeps snapshots of${why}`, async (t) => {
  const { image, content } = await group(t, ['-n root -L 16M'])
  const [{ offset }] = (await survey(image))[1].pieces
  await makeExt(image, { folder: content, offset })
  // Without a kernel that maps devices, no tool makes one: what it would say is added to what is said of the group.
  await using file = await open(image, 'r+')
  const bytes = Buffer.alloc(MiB)
  await file.read(bytes, 0, MiB, 0)
  const area = bytes.indexOf(' LVM2 x[5A%r0N*>') - 4
  const [at, length] = [40, 48].map((field) => Number(bytes.readBigUInt64LE(area + field)))
  const said = bytes.toString('latin1', area + at, area + at + length)
  const snapshot =
    'snapshot0 { status = ["READ", "WRITE", "VISIBLE"] segment_count = 1 segment1 { start_extent = 0 extent_count = 4 type = "snapshot" origin = "root" cow_store = "kept" } }'
  const now = Buffer.from(said.replace('logical_volumes {', `logical_volumes { ${snapshot}`), 'latin1')
  now.copy(bytes, area + at)
  bytes.writeBigUInt64LE(BigInt(now.length), area + 48)
  await file.write(bytes, 0, MiB, 0)
  {
    await using guest = await openWritableGuest([{ id: 'vda', path: image, format: 'raw' }])
    t.truthy(await guest.read('/etc/hostname'))
    const error = await refusedWith(t, 'GUEST_UNSUPPORTED', guest.write('/etc/hostname', Buffer.from('x')))
    t.regex(error.message, /snapshots/)
  }
  await checkExt(image, offset)
})

test(`surveyDisks() names what it cannot read of LVM${why}`, async (t) => {
  const { image } = await group(t, ['-n striped -L 8M', '-n other -L 8M'])
  const bytes = await readFile(image)
  const damaged = Buffer.from(
    bytes.toString('latin1').replaceAll('stripe_count = 1', 'stripe_count = 2'),
    'latin1',
  )
  const [{ volumes }] = await surveyDisks([{ id: 'vda', source: bufferSource(damaged) }])
  t.deepEqual(
    volumes.slice(1).map(({ problem }) => problem),
    Array(2).fill('it is a thin, mirrored or striped LVM volume'),
  )
})

test(`surveyDisks() reads any damaged description of LVM to an end${why}`, async (t) => {
  const { image } = await group(t, ['-n root -L 16M', '-n other -L 8M'])
  const head = (await readFile(image)).subarray(0, 2 * MiB)
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(12_000), fc.nat(255)), { minLength: 1, maxLength: 20 }),
      async (changes) => {
        const bytes = Buffer.from(head)
        for (const [at, value] of changes) bytes[at] = value
        await surveyDisks([{ id: 'vda', source: bufferSource(bytes) }])
      },
    ),
    { numRuns: 60 },
  )
  t.pass()
})

anyTest('parseLvmText() parses sections, lists and comments, and refuses the rest', (t) => {
  const parsed = parseLvmText('vg { # one\n a = 1\n b = "x\\"y"\n c = ["p", 2]\n d { e = [] } }\nversion = 1')
  t.deepEqual(
    parsed,
    new Map<string, unknown>([
      [
        'vg',
        new Map<string, unknown>([
          ['a', 1],
          ['b', 'x"y'],
          ['c', ['p', 2]],
          ['d', new Map([['e', []]])],
        ]),
      ],
      ['version', 1],
    ]) as never,
  )
  for (const text of [
    'a {',
    '}',
    'a = ',
    'a = [',
    'a = {',
    '= 1',
    'a b',
    'a'.concat(' { a'.repeat(100)),
    '\u0001',
  ])
    t.throws(() => parseLvmText(text), { instanceOf: FluidError }, text)
})

async function group(
  t: ExecutionContext,
  volumes: readonly string[],
): Promise<{ image: string; content: string }> {
  const folder = await tempDir(t)
  const [image, content] = [join(folder, 'disk.raw'), join(folder, 'content')]
  await mkdir(content)
  await makeFolderTree(content, { names: 20 })
  await writeFile(image, '')
  await truncate(image, 64 * MiB)
  const device = await loopDevice(t, image)
  const config = `${CONFIG} devices { use_devicesfile=0 filter=["a|^${device}$|", "r|.*|"] }`
  const lvm = (command: string, args: readonly string[]) =>
    run(command, ['--driverloaded', 'n', '--config', config, '-q', ...args], {
      env: { ...process.env, LVM_SUPPRESS_FD_WARNINGS: '1' },
    })
  await lvm('pvcreate', [device])
  await lvm('vgcreate', ['debian-vg', device])
  for (const volume of volumes) {
    const [verb, ...words] = volume.split(' ')
    if (verb === 'extend') await lvm('lvextend', ['-y', '-L', ...words])
    else await lvm('lvcreate', ['-an', '-Zn', '-Wn', '-y', verb, ...words, 'debian-vg'])
  }
  await run('sync', ['-d', device])
  return { image, content }
}

async function survey(image: string): Promise<readonly GuestVolume[]> {
  await using source = await openSource(fileUrl(image))
  const [disk] = await surveyDisks([{ id: 'vda', source }])
  return disk.volumes
}
