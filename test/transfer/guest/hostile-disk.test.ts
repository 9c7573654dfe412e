import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { inspectGuest } from '../../../agent/conduit/inspect-guest.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { createDiskReader } from '../../../transfer/guest/disk-reader.ts'
import { EXT_ROOT, openExtVolume } from '../../../transfer/guest/ext-volume.ts'
import { bufferSource } from '../../helpers/buffer-source.ts'
import { makeFolderTree } from '../../helpers/folder-tree.ts'
import { debugfs, makeExt, noMke2fs } from '../../helpers/guest-image.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = noMke2fs()
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

const KiB = 1024
/** Of a walk over a tree that a disk says is endless, so much is enough. */
const MAX_VISITS = 2000
const MAX_DEPTH = 12
const RUNS = 150

const LAYOUTS: Readonly<Record<string, readonly string[]>> = {
  'ext4 with extents and a journal': ['-t', 'ext4', '-b', '1024'],
  'ext4 with inline data': ['-t', 'ext4', '-b', '1024', '-O', 'inline_data,^has_journal'],
  'ext2 with block maps': ['-t', 'ext2', '-b', '1024'],
}

for (const [name, options] of Object.entries(LAYOUTS)) {
  test(`A disk of ${name}, damaged anywhere, ends in an answer or GUEST_UNSUPPORTED${why}`, async (t) => {
    const image = await readFile(await makeImage(t, options))
    const used = usedPlaces(image)
    const values = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff))
    const change = fc.tuple(fc.nat(used.length - 1), fc.nat(KiB - 1), values)
    // The first blocks rule all the others: they are hit more often.
    const early = fc.tuple(fc.nat(Math.min(7, used.length - 1)), fc.nat(KiB - 1), values)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(change, early), { minLength: 1, maxLength: 40 }),
        async (changes) => {
          const bytes = Buffer.from(image)
          for (const [block, at, value] of changes) bytes[used[block] + at] = value
          await answers(t, bytes)
        },
      ),
      { numRuns: RUNS },
    )
  })

  test(`A disk of ${name} with numbers set to extremes ends in an answer or GUEST_UNSUPPORTED${why}`, async (t) => {
    const image = await readFile(await makeImage(t, options))
    const used = usedPlaces(image)
    const words = fc.constantFrom(0, 1, 2, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0xf30a, 0x0005_f30a, 0xc03b_3998)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(used.length - 1), fc.nat(KiB / 4 - 1), words), {
          minLength: 1,
          maxLength: 16,
        }),
        async (changes) => {
          const bytes = Buffer.from(image)
          for (const [block, word, value] of changes) bytes.writeUInt32LE(value, used[block] + 4 * word)
          await answers(t, bytes)
        },
      ),
      { numRuns: RUNS },
    )
  })
}

test(`A folder that contains itself, and a link that leads to itself, end${why}`, async (t) => {
  const image = await makeImage(t, ['-t', 'ext4', '-b', '1024'])
  await debugfs(image, ['ln <2> /etc/again', 'ln /etc /etc/deep/etc'])
  const report = await inspectGuest(
    [{ id: 'vda', source: bufferSource(await readFile(image)) }],
    { firmware: 'bios', disks: [] },
    { signal: AbortSignal.timeout(60_000) },
  )
  t.is(report.root, 'vda')
})

/** Reads everything there is, the way inspection and files do; only the errors that we promise may come of it. */
async function answers(t: ExecutionContext, bytes: Buffer): Promise<void> {
  const source = bufferSource(bytes)
  await expected(t, async () => {
    const volume = await openExtVolume(createDiskReader(source))
    const waiting = [{ number: EXT_ROOT, depth: 0 }]
    let visits = 0
    for (let next = waiting.pop(); next && ++visits < MAX_VISITS; next = waiting.pop()) {
      const { number, depth } = next
      await expected(t, async () => {
        const inode = await volume.inode(number)
        await expected(t, () => volume.attributes(inode))
        if (inode.kind === 'file') await volume.content(inode, 2 * KiB * KiB)
        if (inode.kind === 'link') await volume.target(inode)
        if (inode.kind !== 'directory' || depth === MAX_DEPTH) return
        for (const entry of await volume.entries(inode))
          waiting.push({ number: entry.inode, depth: depth + 1 })
      })
    }
  })
  await expected(t, () =>
    inspectGuest(
      [{ id: 'vda', source }],
      { firmware: 'bios', disks: [] },
      { signal: AbortSignal.timeout(60_000) },
    ),
  )
}

async function expected(t: ExecutionContext, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    const known = error instanceof FluidError && ['GUEST_UNSUPPORTED', 'LIMIT_EXCEEDED'].includes(error.code)
    if (!known) throw error
    t.truthy(error.hint)
  }
}

/** Offsets of blocks that hold anything. */
function usedPlaces(image: Buffer): number[] {
  const places: number[] = []
  for (let at = 0; at < image.length; at += KiB)
    if (image.subarray(at, at + KiB).some((byte) => byte !== 0)) places.push(at)
  return places
}

async function makeImage(t: ExecutionContext, options: readonly string[]): Promise<string> {
  const folder = await tempDir(t)
  const content = join(folder, 'content')
  await mkdir(content)
  await makeFolderTree(content, { names: 60, trailingHole: false })
  const image = join(folder, 'disk.raw')
  await makeExt(image, { folder: content, sizeMiB: 6, options: [...options, '-N', '256'] })
  if (!options.includes('ext4') || options.some((option) => option.includes('^has_journal'))) return image
  await writeFile(join(folder, 'block'), Buffer.alloc(KiB, 'x'))
  await debugfs(image, ['jo -c', `jw -b 4000-4001 ${join(folder, 'block')}`, 'jc'])
  return image
}
