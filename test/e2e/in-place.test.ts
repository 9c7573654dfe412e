/** A version that becomes the new one itself: what is the same stays, and what was comes back when the job does not end well. */
import { copyFile, mkdir, readdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import ava from 'ava'
import { startPair, type AgentPair } from '../helpers/agent-process.ts'
import { hideFromCrc32, MiB, noise, overwrite, sameBytes, writeVolume } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

const SIZE_BYTES = 64 * MiB
const DATA_BYTES = 40 * MiB
const CHANGED_BYTES = 16 * MiB
const IN_PLACE = ['--replace', '--in-place']
/** So that the job is killed, or cancelled, in its midst. */
const RATE = ['--bwlimit', '16MiB/s', '--compress', 'off']
const TARGET = 'boreal:disk.raw'

/** What is changed lies at the end, so that some of it is written long before all of it. */
async function writeVersions({ source }: AgentPair): Promise<void> {
  await writeVolume(source('v1.raw'), SIZE_BYTES, [{ offset: 4 * MiB, bytes: noise(DATA_BYTES, 1) }])
  await copyFile(source('v1.raw'), source('v2.raw'))
  await overwrite(source('v2.raw'), [{ offset: 20 * MiB, bytes: noise(CHANGED_BYTES, 2) }])
}

/** Waits until the old version is no more what it was, in a job that goes on. */
async function beginAndChange(pair: AgentPair): Promise<string> {
  const job = await pair.alpine.begin(pair.source('v2.raw'), TARGET, ...IN_PLACE, ...RATE)
  await pair.boreal.until(job, ({ sentBytes, state }) => sentBytes > 2 * MiB && state === 'running')
  return job
}

/** A byte of each of many blocks, so that hardly a chunk is the same. */
const SCATTERED = Array.from({ length: 300 }, (_, i) => ({
  offset: 4 * MiB + i * 130_000,
  bytes: Buffer.of(1, 2, 3),
}))

async function writeScattered(pair: AgentPair): Promise<void> {
  await writeVersions(pair)
  await copyFile(pair.source('v1.raw'), pair.source('v2.raw'))
  await overwrite(pair.source('v2.raw'), SCATTERED)
}

const names = (pair: AgentPair) => readdir(dirname(pair.at('disk.raw')))

test('move --in-place changes the version itself, which sends what changed', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), TARGET)
  const { ino } = await stat(pair.at('disk.raw'))
  const plan = await pair.alpine.tell('plan', pair.source('v2.raw'), TARGET, ...IN_PLACE)
  t.like(plan, { feasible: true, replacesExisting: true, inPlace: true })
  t.regex(String(plan.warnings), /nothing lies under disk\.raw/)
  const job = await beginAndChange(pair)
  t.is((await names(pair)).filter((name) => name === 'disk.raw').length, 0, 'until the job is done')
  const report = await pair.alpine.finish(job)
  t.true(report.sentBytes < CHANGED_BYTES + MiB, `${report.sentBytes}`)
  t.is((await stat(pair.at('disk.raw'))).ino, ino)
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))
  t.deepEqual(await names(pair), ['disk.raw'])
  t.like(await pair.alpine.tell('verify', job, '--deep'), { match: true, root: report.root })
})

test('move --in-place over a version that was put there by hand, with --verify deep', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await mkdir(dirname(pair.at('disk.raw')), { recursive: true })
  await copyFile(pair.source('v1.raw'), pair.at('disk.raw'))
  const args = [pair.source('v2.raw'), TARGET, ...IN_PLACE, '--verify', 'deep']
  const { sentBytes } = await pair.alpine.tell('move', ...args)
  t.true(sentBytes < CHANGED_BYTES + MiB, `${sentBytes}`)
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))
  t.deepEqual(await names(pair), ['disk.raw'])
})

for (const how of [IN_PLACE, ['--replace']]) {
  test(`move ${how.join(' ')} sends only the blocks that changed`, async (t) => {
    const pair = await startPair(t)
    await writeScattered(pair)
    await pair.alpine.tell('move', pair.source('v1.raw'), TARGET)
    const { sentBytes } = await pair.alpine.tell('move', pair.source('v2.raw'), TARGET, ...how)
    t.true(sentBytes <= SCATTERED.length * 2 * 4096, `${sentBytes}`)
    t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))
  })
}

test('a block whose checksum is right by chance costs an attempt, and nothing else', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), TARGET)
  await copyFile(pair.source('v1.raw'), pair.source('v2.raw'))
  const changed = noise(DATA_BYTES, 1).subarray(0, 3 * 4096)
  hideFromCrc32(changed, 100)
  changed[2 * 4096] ^= 1
  await overwrite(pair.source('v2.raw'), [{ offset: 4 * MiB, bytes: changed }])
  const { job, sentBytes } = await pair.alpine.tell('move', pair.source('v2.raw'), TARGET, ...IN_PLACE)
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))
  t.true(sentBytes >= 65_536, `${sentBytes}: the chunk came whole`)
  t.like(await pair.boreal.tell('status'), { refused: { 'chunk-digest': 1 } })
  t.like(await pair.alpine.tell('verify', String(job), '--deep'), { match: true })
})

test('a version that was changed in place is found by a job that stages beside it', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), TARGET)
  await pair.alpine.tell('move', pair.source('v2.raw'), TARGET, ...IN_PLACE)
  await overwrite(pair.source('v2.raw'), [{ offset: 30 * MiB, bytes: noise(MiB, 3) }])
  const { sentBytes } = await pair.alpine.tell('move', pair.source('v2.raw'), TARGET, '--replace')
  t.true(sentBytes < 2 * MiB, `${sentBytes}`)
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))
})

test('a job in place goes on after SIGKILL of the receiver, twice', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), TARGET)
  const job = await beginAndChange(pair)
  for (const sentBytes of [6 * MiB, 10 * MiB]) {
    await pair.boreal.kill()
    await pair.boreal.start()
    await pair.alpine.until(job, (report) => report.sentBytes > sentBytes)
  }
  await pair.alpine.finish(job)
  await pair.boreal.finish(job)
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))
  t.deepEqual(await names(pair), ['disk.raw'])
})

test('a job in place that is cancelled leaves the old version, byte for byte', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), TARGET)
  const job = await beginAndChange(pair)
  await pair.alpine.tell('cancel', job)
  await pair.boreal.until(job, ({ state }) => state === 'cancelled')
  t.true(await sameBytes(pair.source('v1.raw'), pair.at('disk.raw')))
  t.deepEqual(await names(pair), ['disk.raw'])
})

test('a job in place that is cancelled after SIGKILL of the receiver leaves the old version', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  await pair.alpine.tell('move', pair.source('v1.raw'), TARGET)
  const job = await beginAndChange(pair)
  await pair.alpine.kill()
  await pair.boreal.kill()
  await pair.boreal.start()
  await pair.boreal.tell('cancel', job)
  t.true(await sameBytes(pair.source('v1.raw'), pair.at('disk.raw')))
  t.deepEqual(await names(pair), ['disk.raw'])
})

test('move --in-place says what it needs, and stages beside what is in use', async (t) => {
  const pair = await startPair(t)
  await writeVersions(pair)
  const alone = await pair.alpine.run('move', pair.source('v1.raw'), TARGET, '--in-place')
  t.is(alone.exit, 2)
  const qcow2 = await pair.alpine.run('move', pair.source('v1.raw'), TARGET, ...IN_PLACE, '--format', 'qcow2')
  t.is(qcow2.exit, 2)
  const none = await pair.alpine.tell('plan', pair.source('v1.raw'), TARGET, ...IN_PLACE)
  t.regex(String(none.warnings), /beside the old one/)
  await pair.alpine.tell('move', pair.source('v1.raw'), TARGET, ...IN_PLACE)
  await pair.alpine.tell('move', pair.source('v2.raw'), TARGET, ...IN_PLACE)
  t.true(await sameBytes(pair.source('v2.raw'), pair.at('disk.raw')))
})
