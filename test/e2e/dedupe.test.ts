/** What a target holds already is not sent: the old version, the same chunks elsewhere, seeds; and whose chunks count. */
import { constants } from 'node:fs'
import { copyFile, mkdir, readFile, rm, statfs, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import ava from 'ava'
import { pairAgents, startAgent, startPair, type AgentPair } from '../helpers/agent-process.ts'
import { noSmallFileSystems, smallFileSystem } from '../helpers/programs.ts'
import { MiB, noise, overwrite, sameBytes, writeVolume } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

const SIZE_BYTES = 64 * MiB
const DATA_BYTES = 32 * MiB
const CHANGES = [
  { offset: 3 * MiB, bytes: noise(20_000, 71) },
  { offset: 17 * MiB + 5000, bytes: noise(300_000, 72) },
]
const CHANGED_BYTES = 320_000
/** A chunk is at most 256 KiB, and a change touches the chunks at both its ends. */
const DELTA_BYTES = CHANGED_BYTES + CHANGES.length * 3 * 256 * 1024

/** v1.raw, and v2.raw with some of it changed. */
async function writeVersions({ source }: AgentPair): Promise<void> {
  await writeVolume(source('v1.raw'), SIZE_BYTES, [{ offset: 0, bytes: noise(DATA_BYTES, 1) }])
  await copyFile(source('v1.raw'), source('v2.raw'))
  await overwrite(source('v2.raw'), CHANGES)
}

test('move --replace over the old version sends what changed', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), 'boreal:disk.raw')
  const delta = await pair.alpine.tell('move', pair.source('v2.raw'), 'boreal:disk.raw', '--replace')
  t.true(delta.sentBytes >= CHANGED_BYTES && delta.sentBytes <= DELTA_BYTES, `sent ${delta.sentBytes}`)
  t.true(delta.wireBytes < DELTA_BYTES + MiB, `wire ${delta.wireBytes}`)
  t.is(delta.sentBytes + delta.dedupedBytes, DATA_BYTES)
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))
})

test('move --replace over a version that was put there by hand sends what changed', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await mkdir(dirname(pair.at('disk.raw')), { recursive: true })
  await copyFile(pair.source('v1.raw'), pair.at('disk.raw'))
  const delta = await pair.alpine.tell('move', pair.source('v2.raw'), 'boreal:disk.raw', '--replace')
  t.true(delta.sentBytes >= CHANGED_BYTES && delta.sentBytes <= DELTA_BYTES, `sent ${delta.sentBytes}`)
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))
})

test('move of a new version sends the same when the old one lies under another name', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), 'boreal:first.raw')
  const delta = await pair.alpine.tell('move', pair.source('v2.raw'), 'boreal:second.raw')
  t.true(delta.sentBytes >= CHANGED_BYTES && delta.sentBytes <= DELTA_BYTES, `sent ${delta.sentBytes}`)
  t.true(await sameBytes(pair.source('v1.raw'), pair.at('first.raw')))
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('second.raw')))
})

test('move finds chunks that lie at another place than before', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), 'boreal:first.raw')
  const shifted = Buffer.concat([
    noise(12_345, 5),
    (await readFile(pair.source('v1.raw'))).subarray(0, DATA_BYTES),
  ])
  await writeFile(pair.source('shifted.raw'), shifted)
  const delta = await pair.alpine.tell('move', pair.source('shifted.raw'), 'boreal:shifted.raw')
  // Every window of 4 MiB cuts anew at its end.
  t.true(delta.sentBytes < DATA_BYTES / 4, `sent ${delta.sentBytes}`)
  t.true(await sameBytes(pair.source('shifted.raw'), pair.at('shifted.raw')))
})

test('move trusts no chunk that changed on the target since it was indexed', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), 'boreal:first.raw')
  await overwrite(pair.at('first.raw'), [{ offset: 8 * MiB, bytes: noise(4 * MiB, 99) }])
  const { sentBytes } = await pair.alpine.tell('move', pair.source('v1.raw'), 'boreal:second.raw')
  t.true(sentBytes >= 4 * MiB && sentBytes < 5 * MiB, `sent ${sentBytes}`)
  t.true(await sameBytes(pair.source('v1.raw'), pair.at('second.raw')))
})

test('move sends nothing that a seed folder holds, and everything once the seed is removed', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  const seeds = join(pair.boreal.folder, 'catalogue')
  await mkdir(seeds)
  await copyFile(pair.source('v1.raw'), join(seeds, 'base.raw'))
  const seed = await pair.boreal.tell('policy', 'seed', 'add', seeds)
  t.like(seed, { type: 'seed', files: 1, bytes: DATA_BYTES, state: 'ready' })
  const delta = await pair.alpine.tell('move', pair.source('v2.raw'), 'boreal:disk.raw')
  t.true(delta.sentBytes >= CHANGED_BYTES && delta.sentBytes <= DELTA_BYTES, `sent ${delta.sentBytes}`)
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))

  await pair.boreal.tell('policy', 'seed', 'rm', seeds)
  await writeFile(pair.source('part.raw'), noise(DATA_BYTES, 1).subarray(0, MiB))
  await rm(pair.at('disk.raw'))
  t.like(await pair.alpine.tell('move', pair.source('part.raw'), 'boreal:part.raw'), {
    sentBytes: MiB,
    dedupedBytes: 0,
  })
})

test('move sends in full to a grant what only another grant holds', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  const cirrus = await startAgent(t, 'cirrus')
  await mkdir(join(pair.boreal.folder, 'cirrus'))
  await pairAgents(cirrus, pair.boreal, '--into', join(pair.boreal.folder, 'cirrus'))
  await pair.alpine.tell('move', pair.source('v1.raw'), 'boreal:mine.raw')
  const other = await cirrus.tell('move', pair.source('v1.raw'), 'boreal:theirs.raw')
  t.like(other, { sentBytes: DATA_BYTES, dedupedBytes: 0 })
  t.true(other.wireBytes > DATA_BYTES)
  t.true(await sameBytes(pair.source('v1.raw'), join(pair.boreal.folder, 'cirrus', 'theirs.raw')))
  const again = await cirrus.tell('move', pair.source('v1.raw'), 'boreal:again.raw')
  t.like(again, { sentBytes: 0, dedupedBytes: DATA_BYTES })
})

test('move sends content that repeats within the volume once', async (t) => {
  const pair = await startPair(t)
  const part = noise(8 * MiB, 3)
  const offsets = [0, 16 * MiB, 32 * MiB, 56 * MiB]
  await writeVolume(
    pair.source('repeats.raw'),
    SIZE_BYTES,
    offsets.map((offset) => ({ offset, bytes: part })),
  )
  // One lane: what two lanes ask for at the same moment may travel twice.
  const result = await pair.alpine.tell(
    'move',
    pair.source('repeats.raw'),
    'boreal:repeats.raw',
    '--streams',
    '1',
  )
  t.is(result.sentBytes + result.dedupedBytes, 4 * part.length)
  t.true(result.sentBytes <= part.length + 4 * MiB * 4, `sent ${result.sentBytes}`)
  t.true(await sameBytes(pair.source('repeats.raw'), pair.at('repeats.raw')))
})

test('move refuses to replace what exists unless told to', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), 'boreal:disk.raw')
  for (const verb of ['plan', 'move']) {
    const { exit, lines } = await pair.alpine.run(verb, pair.source('v2.raw'), 'boreal:disk.raw')
    t.is(exit, 7, verb)
    t.like(lines.at(-1), { type: 'error', code: 'NAME_EXISTS', exit: 7 })
  }
  t.true(await sameBytes(pair.source('v1.raw'), pair.at('disk.raw')))
  t.like(await pair.alpine.tell('plan', pair.source('v2.raw'), 'boreal:disk.raw', '--replace'), {
    feasible: true,
    replacesExisting: true,
  })
})

const blockSharing = noSmallFileSystems('xfs') === undefined ? test : test.skip
blockSharing(
  'move --replace stores only what changed where files can share blocks (needs root)',
  async (t) => {
    const pair = await startPair(t)
    const folder = await smallFileSystem(t, pair.boreal.folder, 400 * MiB, 'xfs')
    await pairAgents(pair.alpine, pair.boreal, '--into', folder)
    await writeVersions(pair)
    // A part that is zeros now, and the end that is cut off.
    await overwrite(pair.source('v2.raw'), [{ offset: 9 * MiB + 1, bytes: Buffer.alloc(100_000) }])
    await truncate(pair.source('v2.raw'), SIZE_BYTES - 3 * MiB - 1)
    await copyFile(pair.source('v1.raw'), join(folder, 'disk.raw'))
    await pair.alpine.tell('move', pair.source('v2.raw'), 'boreal:disk.raw', '--replace', '--verify', 'deep')
    t.true(await sameBytes(pair.source('v2.raw'), join(folder, 'disk.raw')))
    // Both versions there: the second takes what differs, in blocks, and no more.
    await copyFile(join(folder, 'disk.raw'), join(folder, 'other.raw'), constants.COPYFILE_FICLONE)
    const before = await statfs(folder)
    await pair.alpine.tell('move', pair.source('v1.raw'), 'boreal:disk.raw', '--replace')
    const takenBytes = (before.bfree - (await statfs(folder)).bfree) * before.bsize
    t.true(takenBytes < 2 * DELTA_BYTES, `takes ${takenBytes}`)
    t.true(await sameBytes(pair.source('v1.raw'), join(folder, 'disk.raw')))
    t.true(await sameBytes(pair.source('v2.raw'), join(folder, 'other.raw')))
  },
)
