/** Bad things, and what they get: a full disk, a source that cannot be read, jobs that are cancelled. */
import { readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import { ClassicLevel } from 'classic-level'
import { startPair, type AgentPair, type AgentProcess } from '../helpers/agent-process.ts'
import { eventually } from '../helpers/eventually.ts'
import { hasProgram, nbdkit, noSmallFileSystems, smallFileSystem } from '../helpers/programs.ts'
import { startProxiedPair } from '../helpers/proxied-pair.ts'
import { diskBytes, MiB, noise, sameBytes, writeVolume } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial
const noFullDisk = noSmallFileSystems()
const withFullDisk = noFullDisk === undefined ? test : ava.skip
const withNbdkit = hasProgram('nbdkit') ? test : ava.skip

const SIZE_BYTES = 40 * MiB
const RATE = ['--bwlimit', '16MiB/s']
/** One lane reads at most 16 MiB ahead of what it sends. */
const ONE_LANE = ['--streams', '1', ...RATE]

async function writeSource({ source }: AgentPair): Promise<string> {
  await writeVolume(source('disk.raw'), SIZE_BYTES, [{ offset: 0, bytes: noise(SIZE_BYTES, 1) }])
  return source('disk.raw')
}

/** Leaves no block free. */
async function fill(path: string): Promise<void> {
  for (let i = 0, chunk = 16 * MiB; chunk >= 1024; i++) {
    await writeFile(join(path, `filler${i}`), Buffer.alloc(chunk, 1)).catch(() => (chunk /= 4))
  }
}

async function empty(path: string): Promise<void> {
  const fillers = (await readdir(path)).filter((name) => name.startsWith('filler'))
  await Promise.all(fillers.map((name) => rm(join(path, name))))
}

withFullDisk(
  `a full disk pauses the job, status says why, and resume completes it${noFullDisk ? ` (skipped: ${noFullDisk})` : ''}`,
  async (t) => {
    const pair = await startPair(t)
    const folder = await smallFileSystem(t, pair.boreal.folder, 96 * MiB)
    await pair.boreal.tell('policy', 'set', 'alpine', '--into', folder)
    const move = pair.alpine.run('move', await writeSource(pair), 'boreal:disk.raw', ...RATE)
    const { job } = await running(pair.boreal, 8 * MiB)
    await fill(folder)
    const { exit, lines } = await move
    t.is(exit, 7)
    t.like(lines.at(-1), { type: 'error', code: 'NO_SPACE', exit: 7 })
    t.regex(String(lines.at(-1)?.hint), new RegExp(`fluidcloud resume ${job}`))
    for (const agent of [pair.alpine, pair.boreal]) {
      const report = await agent.until(job, ({ state }) => state === 'paused')
      t.is(report.error?.code, 'NO_SPACE', agent.name)
      const { lines } = await agent.run('status')
      t.true(JSON.stringify(lines).includes('NO_SPACE'), agent.name)
    }
    const staged = (await readdir(folder)).filter((name) => name.includes(job))
    t.is(staged.length, 1)
    await empty(folder)
    await pair.alpine.tell('resume', job)
    const report = await pair.alpine.finish(job)
    t.true(report.resumedBytes >= 4 * MiB, `resumed ${report.resumedBytes}`)
    t.true(await sameBytes(pair.source('disk.raw'), join(folder, 'disk.raw')))
    await pair.boreal.finish(job)
    t.is((await pair.boreal.jobs())[0].error, undefined)
  },
)

withFullDisk(
  `plan and move refuse what the disk cannot hold${noFullDisk ? ` (skipped: ${noFullDisk})` : ''}`,
  async (t) => {
    const pair = await startPair(t)
    const folder = await smallFileSystem(t, pair.boreal.folder, 24 * MiB)
    await pair.boreal.tell('policy', 'set', 'alpine', '--into', folder)
    const source = await writeSource(pair)
    for (const verb of ['plan', 'move']) {
      const { exit, lines } = await pair.alpine.run(verb, source, 'boreal:disk.raw')
      t.is(exit, 7, verb)
      t.like(lines.at(-1), { type: 'error', code: 'NO_SPACE' })
    }
    t.deepEqual(await readdir(folder), ['lost+found'])
  },
)

withNbdkit(
  `a read error at the source pauses the job with the offset, and resume completes it${hasProgram('nbdkit') ? '' : ' (skipped: needs nbdkit)'}`,
  async (t) => {
    const pair = await startPair(t)
    const trigger = pair.source('broken')
    const export_ = ['--filter=error', 'file', await writeSource(pair)]
    const url = await nbdkit(t, [
      ...export_,
      'error-pread=EIO',
      'error-pread-rate=100%',
      `error-pread-file=${trigger}`,
    ])
    const move = pair.alpine.run('move', url, 'boreal:disk.raw', ...ONE_LANE)
    const { job } = await running(pair.boreal, 4 * MiB)
    await writeFile(trigger, '')
    const { exit, lines } = await move
    t.is(exit, 1)
    t.like(lines.at(-1), { type: 'error', code: 'SOURCE_READ' })
    const offset = Number(/offset (\d+)/.exec(String(lines.at(-1)?.message))?.[1])
    t.true(offset >= 4 * MiB && offset < SIZE_BYTES, String(lines.at(-1)?.message))
    const report = await pair.boreal.until(job, ({ state }) => state === 'paused')
    t.is(report.error?.code, 'SOURCE_READ')
    t.true((await diskBytes(await stagedFile(pair, job))) < SIZE_BYTES, 'No zeros are made up')
    await rm(trigger)
    await pair.alpine.tell('resume', job)
    await pair.alpine.finish(job)
    t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  },
)

test('a source that shrinks while it moves ends with the reason, and makes up no zeros', async (t) => {
  const pair = await startPair(t)
  const move = pair.alpine.run('move', await writeSource(pair), 'boreal:disk.raw', ...ONE_LANE)
  const { job } = await running(pair.boreal, 4 * MiB)
  await truncate(pair.source('disk.raw'), 12 * MiB)
  const { exit, lines } = await move
  t.not(exit, 0)
  const { code, message } = lines.at(-1) as { code: string; message: string }
  t.true(['SOURCE_READ', 'SOURCE_CHANGED', 'SOURCE_MISSING'].includes(code), `${code}: ${message}`)
  t.regex(message, /\d{8}/)
  t.false(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  // The receiver removes it as soon as it is told that the job is over.
  const stagedBytes = await stagedFile(pair, job)
    .then(diskBytes)
    .catch(() => 0)
  t.true(stagedBytes < SIZE_BYTES)
})

for (const who of ['alpine', 'boreal'] as const) {
  test(`cancel at ${who === 'alpine' ? 'the sender' : 'the receiver'} leaves no file, no state and no open file on either side`, async (t) => {
    const pair = await startPair(t)
    const job = await pair.alpine.begin(await writeSource(pair), 'boreal:disk.raw', ...RATE)
    await running(pair.boreal, 8 * MiB)
    t.is((await readdir(pair.boreal.home.imports)).length, 1)
    t.like(await pair[who].tell('cancel', job), { type: 'job', job, state: 'cancelled' })
    await gone(t, pair, job)
    const again = await pair.alpine.tell('move', pair.source('disk.raw'), 'boreal:disk.raw')
    t.is(again.sentBytes, SIZE_BYTES)
    t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  })

  test(`cancel at ${who === 'alpine' ? 'the sender' : 'the receiver'} while the other is down holds when it comes back`, async (t) => {
    const pair = await startPair(t)
    const job = await pair.alpine.begin(await writeSource(pair), 'boreal:disk.raw', ...RATE)
    await running(pair.boreal, 8 * MiB)
    const other = who === 'alpine' ? pair.boreal : pair.alpine
    await other.kill()
    await pair[who].run('cancel', job)
    await other.start()
    await gone(t, pair, job)
  })
}

for (const [what, spoil] of [
  ['is gone', (path: string) => rm(path)],
  ['changed its size', (path: string) => truncate(path, MiB)],
] as const) {
  test(`cancel at the sender of a job whose source ${what} leaves nothing at the receiver`, async (t) => {
    const pair = await startPair(t)
    const job = await pair.alpine.begin(await writeSource(pair), 'boreal:disk.raw', ...RATE)
    await running(pair.boreal, 8 * MiB)
    await pair.alpine.kill()
    await spoil(pair.source('disk.raw'))
    await pair.alpine.start()
    const { exit, lines } = await pair.alpine.run('watch', job)
    t.is(exit, 7)
    t.like(lines.at(-1), { type: 'error', code: 'SOURCE_MISSING' })
    t.like(await pair.alpine.tell('cancel', job), { state: 'failed', error: { code: 'SOURCE_MISSING' } })
    // The receiver hears of the missing source and of the cancel, in either order: the first ends the job.
    await gone(t, pair, job, { atSender: ['failed'], atReceiver: ['cancelled', 'failed'] })
  })
}

test('move that follows a job cancelled elsewhere exits 130', async (t) => {
  const pair = await startPair(t)
  const move = pair.alpine.run('move', await writeSource(pair), 'boreal:disk.raw', ...RATE)
  const { job } = await running(pair.boreal, 4 * MiB)
  await pair.boreal.tell('cancel', job)
  const { exit, lines } = await move
  t.is(exit, 130)
  t.like(lines.at(-1), { type: 'error', code: 'CANCELLED' })
})

test('a job begun while the peer is down waits for it, and plan says so at once', async (t) => {
  const pair = await startPair(t)
  await pair.boreal.kill()
  const source = await writeSource(pair)
  const plan = await pair.alpine.run('plan', source, 'boreal:disk.raw')
  t.is(plan.exit, 5)
  t.like(plan.lines.at(-1), { type: 'error', code: 'PEER_UNREACHABLE', retryable: true, exit: 5 })
  const job = await pair.alpine.begin(source, 'boreal:disk.raw')
  const waiting = await pair.alpine.until(job, ({ state }) => state === 'reconnecting')
  t.is(waiting.error?.code, 'PEER_UNREACHABLE')
  await pair.boreal.start()
  await pair.alpine.finish(job)
  t.true(await sameBytes(source, pair.at('disk.raw')))
})

test('a lane that carries a corrupt byte is dropped, and the job completes', async (t) => {
  const pair = await startProxiedPair(t)
  for (const { up, down } of pair.proxies) up.corruptAt = down.corruptAt = 8 * MiB
  const result = await pair.alpine.tell('move', await writeSource(pair), 'boreal:disk.raw')
  t.is(result.state, 'complete')
  t.true(pair.proxies.some(({ up, down }) => up.corruptAt === undefined || down.corruptAt === undefined))
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
})

/** The incoming job, as soon as this much of it is durable. */
function running(agent: AgentProcess, doneBytes: number) {
  return eventually(async () => (await agent.jobs()).find((each) => each.doneBytes >= doneBytes))
}

async function stagedFile({ boreal }: AgentPair, job: string): Promise<string> {
  const name = (await readdir(boreal.home.imports)).find((each) => each.includes(job))
  if (name === undefined) throw new Error('Nothing is staged')
  return join(boreal.home.imports, name)
}

/** Nothing is left of a cancelled job but its line in the list. */
async function gone(
  t: ExecutionContext,
  { alpine, boreal }: AgentPair,
  job: string,
  {
    atSender = ['cancelled'],
    atReceiver = ['cancelled'],
  }: { atSender?: string[]; atReceiver?: string[] } = {},
): Promise<void> {
  await alpine.until(job, ({ state }) => atSender.includes(state))
  await boreal.until(job, ({ state }) => atReceiver.includes(state))
  t.deepEqual(await readdir(boreal.home.imports), [])
  t.deepEqual(await boreal.openFiles(boreal.home.imports), [])
  t.deepEqual(await alpine.openFiles(alpine.folder), [])
  for (const agent of [alpine, boreal]) {
    t.is(await agent.stop(), 0)
    t.deepEqual(await stateKeys(agent), [])
    await agent.start()
  }
}

/** Keys of journals and of the chunk index in an agent's database. */
async function stateKeys(agent: AgentProcess): Promise<string[]> {
  await using db = new ClassicLevel<Buffer, Buffer>(agent.home.state, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
  })
  const keys = await db.keys().all()
  return keys.map((key) => key.toString('latin1')).filter((key) => /^(jr|ix|if)/.test(key))
}
