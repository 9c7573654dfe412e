import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { createDiskReader } from '../../../transfer/guest/disk-reader.ts'
import { readPartitionTable, type PartitionTable } from '../../../transfer/guest/partition-table.ts'
import { fileUrl, openSource } from '../../../transfer/open.ts'
import { bufferSource } from '../../helpers/buffer-source.ts'
import { makeTable, noSfdisk } from '../../helpers/guest-image.ts'
import { run } from '../../helpers/programs.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = noSfdisk()
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

const MiB = 1024 * 1024
const SIZE = 64 * MiB
const UUID = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'
const MBR =
  'label: dos\nlabel-id: 0x1234abcd\nstart=2048, size=8192, type=83, bootable\nstart=12288, size=65536, type=5\nstart=14336, size=4096, type=82\nstart=20480, size=4096, type=83\n'
const GPT = `label: gpt\nstart=2048, size=4096, type=uefi, name="EFI ä"\nstart=8192, size=8192, type=linux, uuid=${UUID}, name="root"\n`

test(`readPartitionTable() reads an MBR with logical partitions, as sfdisk does${why}`, async (t) => {
  const image = await diskWith(t, MBR)
  const table = await tableOf(image)
  t.is(table.kind, 'mbr')
  t.deepEqual(table.notes, [])
  t.deepEqual(
    table.partitions.map(({ number, type, uuid, active }) => ({ number, type, uuid, active })),
    [
      { number: 1, type: '83', uuid: '1234abcd-01', active: true },
      { number: 5, type: '82', uuid: '1234abcd-05', active: false },
      { number: 6, type: '83', uuid: '1234abcd-06', active: false },
    ],
  )
  t.deepEqual(
    placesOf(table),
    (await sfdiskPlaces(image)).filter(({ number }) => number !== 2),
  )
})

test(`readPartitionTable() counts logical partitions behind an empty table, as sfdisk does${why}`, async (t) => {
  const image = await diskWith(t, MBR)
  const bytes = await readFile(image)
  bytes.fill(0, 12_288 * 512 + 446, 12_288 * 512 + 462)
  await writeFile(image, bytes)
  const table = await tableOf(image)
  t.deepEqual(
    table.partitions.map(({ number }) => number),
    [1, 5],
  )
  t.deepEqual(
    placesOf(table),
    (await sfdiskPlaces(image)).filter(({ number }) => number !== 2),
  )
})

test(`readPartitionTable() reads a GPT, as sfdisk does${why}`, async (t) => {
  const image = await diskWith(t, GPT)
  const table = await tableOf(image)
  t.is(table.kind, 'gpt')
  t.deepEqual(placesOf(table), await sfdiskPlaces(image))
  t.is(table.partitions[0].type, 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b')
  t.is(table.partitions[0].name, 'EFI ä')
  t.is(table.partitions[1].uuid, UUID)
})

test(`readPartitionTable() takes the backup when the first GPT is damaged${why}`, async (t) => {
  const image = await diskWith(t, GPT)
  const whole = await tableOf(image)
  const bytes = await readFile(image)
  bytes[512 + 30] ^= 1
  await writeFile(image, bytes)
  const table = await tableOf(image)
  t.deepEqual(table.partitions, whole.partitions)
  t.is(table.notes.length, 1)
})

test(`readPartitionTable() tells boot code, and a disk without a table${why}`, async (t) => {
  const image = await diskWith(t, MBR)
  t.false((await tableOf(image)).bootCode)
  const bytes = await readFile(image)
  bytes[0] = 0xeb
  await writeFile(image, bytes)
  t.true((await tableOf(image)).bootCode)
  const empty = join(await tempDir(t), 'empty.raw')
  await writeFile(empty, Buffer.alloc(MiB))
  t.deepEqual(await tableOf(empty), { kind: 'none', bootCode: false, partitions: [], notes: [] })
})

for (const [name, script] of Object.entries({ MBR, GPT })) {
  test(`readPartitionTable() reads any damaged ${name} to an end, and nothing outside the disk${why}`, async (t) => {
    const image = await readFile(await diskWith(t, script))
    const places = [...Array(2 * 512).keys()].concat(
      [...Array(1024).keys()].map((at) => 1024 + at),
      [...Array(512).keys()].map((at) => 12_288 * 512 + at),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...places), fc.nat(255)), { minLength: 1, maxLength: 12 }),
        async (changes) => {
          const bytes = Buffer.from(image.subarray(0, 12_288 * 512 + 4096))
          for (const [at, value] of changes) bytes[at] = value
          const disk = createDiskReader(bufferSource(bytes))
          for (const { offset, sizeBytes } of (await readPartitionTable(disk)).partitions)
            t.true(offset > 0 && sizeBytes > 0 && offset + sizeBytes <= bytes.length)
        },
      ),
      { numRuns: 200 },
    )
  })
}

async function diskWith(t: ExecutionContext, script: string): Promise<string> {
  const image = join(await tempDir(t), 'disk.raw')
  await writeFile(image, '')
  await truncate(image, SIZE)
  await makeTable(image, script)
  return image
}

async function tableOf(image: string): Promise<PartitionTable> {
  await using source = await openSource(fileUrl(image))
  return await readPartitionTable(createDiskReader(source))
}

function placesOf({ partitions }: PartitionTable): { number: number; start: number; size: number }[] {
  return partitions.map(({ number, offset, sizeBytes }) => ({
    number,
    start: offset / 512,
    size: sizeBytes / 512,
  }))
}

async function sfdiskPlaces(image: string): Promise<{ number: number; start: number; size: number }[]> {
  const { stdout } = await run('sfdisk', ['--json', image])
  // It says there, too, which empty partition it leaves out.
  const { partitiontable } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
    partitiontable: { partitions: { node: string; start: number; size: number }[] }
  }
  return partitiontable.partitions.map(({ node, start, size }) => ({
    number: Number(/(\d+)$/.exec(node)?.[1]),
    start,
    size,
  }))
}
