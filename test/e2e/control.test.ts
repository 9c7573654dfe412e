/** Steering jobs from either side, and what the command line answers when something may not or cannot be. */
import { mkdir, readdir, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import { pairAgents, spawnProgram, startAgent, startPair, type AgentPair } from '../helpers/agent-process.ts'
import { startProxiedPair, type ProxiedPair } from '../helpers/proxied-pair.ts'
import { runIn } from '../helpers/command-line.ts'
import type { JobReport } from '../../agent/reports/job-reports.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { MiB, noise, sameBytes, writeVolume } from '../helpers/volume.ts'
import { createInterface } from 'node:readline'
import { once } from 'node:events'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

const SIZE_BYTES = 40 * MiB
/** One lane: it has 16 MiB under way, and those are finished after a pause. */
const RATE = ['--bwlimit', '16MiB/s', '--streams', '1']

async function writeSource({ source }: AgentPair): Promise<string> {
  await writeVolume(source('disk.raw'), SIZE_BYTES, [{ offset: 0, bytes: noise(SIZE_BYTES, 1) }])
  return source('disk.raw')
}

/** Resolves when the line has carried nothing for a while. */
async function quiet({ lineBytes }: ProxiedPair): Promise<void> {
  for (let carried = -1; carried !== lineBytes();) {
    carried = lineBytes()
    await new Promise((resolve) => setTimeout(resolve, 400))
  }
}

for (const who of ['alpine', 'boreal'] as const) {
  const other = who === 'alpine' ? 'boreal' : 'alpine'
  const side = who === 'alpine' ? 'the sender' : 'the receiver'

  test(`pause at ${side} stops the line, across a restart of both, until it says resume`, async (t) => {
    const pair = await startProxiedPair(t)
    const job = await pair.alpine.begin(await writeSource(pair), 'boreal:disk.raw', ...RATE)
    await pair.alpine.until(job, () => pair.lineBytes() > 2 * MiB)
    t.like(await pair[who].tell('pause', job), { type: 'job', job, state: 'paused' })
    for (const agent of [pair.alpine, pair.boreal]) await agent.until(job, ({ state }) => state === 'paused')
    await quiet(pair)
    t.true(pair.lineBytes() < SIZE_BYTES, 'The line went on to the end')
    await Promise.all([pair.alpine.kill(), pair.boreal.kill()])
    await Promise.all([pair.alpine.start(), pair.boreal.start()])
    await pair[who].until(job, ({ state }) => state === 'paused')
    const paused = pair.lineBytes()
    await quiet(pair)
    t.true(pair.lineBytes() - paused < MiB / 4, `${pair.lineBytes() - paused} bytes went over the line`)
    t.not((await pair[who].tell('resume', job)).state, 'paused')
    await pair.alpine.finish(job)
    t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  })

  test(`resume at ${other === 'alpine' ? 'the sender' : 'the receiver'} does not lift a pause of ${side}`, async (t) => {
    const pair = await startProxiedPair(t)
    const job = await pair.alpine.begin(await writeSource(pair), 'boreal:disk.raw', ...RATE)
    await pair.alpine.until(job, () => pair.lineBytes() > 2 * MiB)
    await pair[who].tell('pause', job)
    for (const agent of [pair.alpine, pair.boreal]) await agent.until(job, ({ state }) => state === 'paused')
    await quiet(pair)
    const paused = pair.lineBytes()
    t.is((await pair[other].tell('resume', job)).state, 'paused')
    await quiet(pair)
    t.true(pair.lineBytes() - paused < MiB / 4, `${pair.lineBytes() - paused} bytes went over the line`)
    t.is((await pair[who].until(job, () => true)).state, 'paused')
    t.not((await pair[who].tell('resume', job)).state, 'paused')
    await pair.alpine.finish(job)
  })
}

test('a job that its peer never heard of is cancelled at once, though the peer is away', async (t) => {
  const pair = await startPair(t)
  const source = await writeSource(pair)
  await pair.boreal.kill()
  const job = await pair.alpine.begin(source, 'boreal:disk.raw')
  const waiting = ({ state, error }: JobReport) =>
    state === 'reconnecting' && error?.code === 'PEER_UNREACHABLE'
  await pair.alpine.until(job, waiting)
  t.is((await pair.alpine.tell('cancel', job)).state, 'cancelled')
})

test('a job whose peer was told of it before it went away is cancelled only once that knows', async (t) => {
  const pair = await startPair(t)
  const job = await pair.alpine.begin(await writeSource(pair), 'boreal:disk.raw', '--bwlimit', '4MiB/s')
  await pair.alpine.until(job, ({ state }) => state === 'running')
  await pair.boreal.kill()
  await pair.alpine.until(job, ({ state }) => state === 'reconnecting')
  t.is((await pair.alpine.tell('cancel', job)).state, 'reconnecting')
  await pair.boreal.start()
  for (const agent of [pair.alpine, pair.boreal]) await agent.until(job, ({ state }) => state === 'cancelled')
})

test('a name that is taken while a job moves: both rest, and nothing is sent again once it is free', async (t) => {
  const pair = await startPair(t)
  const source = await writeSource(pair)
  const job = await pair.alpine.begin(source, 'boreal:disk.raw', '--bwlimit', '16MiB/s')
  await pair.alpine.until(job, ({ doneBytes }) => doneBytes > 0)
  await writeFile(pair.at('disk.raw'), 'somebody else')
  const resting = ({ state, error }: JobReport) => state === 'paused' && error?.code === 'NAME_EXISTS'
  for (const agent of [pair.alpine, pair.boreal]) await agent.until(job, resting)
  await pair.alpine.tell('resume', job)
  await pair.alpine.until(job, resting)
  await rename(pair.at('disk.raw'), pair.at('other.raw'))
  await pair.alpine.tell('resume', job)
  t.like(await pair.alpine.finish(job), { resumedBytes: SIZE_BYTES })
  t.true(await sameBytes(source, pair.at('disk.raw')))
})

test('a grant that asks: the job waits, and resume at the receiver approves it', async (t) => {
  const pair = await startPair(t, { ticket: ['--approve', 'ask'] })
  const source = await writeSource(pair)
  t.like(await pair.alpine.tell('plan', source, 'boreal:disk.raw'), { feasible: true, needsApproval: true })
  const job = await pair.alpine.begin(source, 'boreal:disk.raw')
  for (const agent of [pair.alpine, pair.boreal])
    await agent.until(job, ({ state }) => state === 'awaiting-approval')
  t.deepEqual(await readdir(pair.boreal.home.imports), [])
  await pair.alpine.kill()
  await pair.alpine.start()
  await pair.alpine.until(job, ({ state }) => state === 'awaiting-approval')
  await pair.boreal.tell('resume', job)
  await pair.alpine.finish(job)
  t.true(await sameBytes(source, pair.at('disk.raw')))
})

test('a grant that asks: cancel at the receiver refuses the job', async (t) => {
  const pair = await startPair(t, { ticket: ['--approve', 'ask'] })
  const job = await pair.alpine.begin(await writeSource(pair), 'boreal:disk.raw')
  await pair.boreal.until(job, ({ state }) => state === 'awaiting-approval')
  const watch = pair.alpine.run('watch', job)
  await pair.boreal.tell('cancel', job)
  const { exit, lines } = await watch
  t.is(exit, 4)
  t.like(lines.at(-1), { type: 'error', code: 'APPROVAL_REJECTED', exit: 4 })
  await pair.boreal.until(job, ({ state }) => state === 'cancelled')
  t.deepEqual(await readdir(pair.boreal.home.imports), [])
})

test('a grant that asks: cancel at the sender takes the job back', async (t) => {
  const pair = await startPair(t, { ticket: ['--approve', 'ask'] })
  const source = await writeSource(pair)
  const job = await pair.alpine.begin(source, 'boreal:disk.raw')
  await pair.boreal.until(job, ({ state }) => state === 'awaiting-approval')
  t.like(await pair.alpine.tell('cancel', job), { state: 'cancelled' })
  await pair.boreal.until(job, ({ state }) => state === 'cancelled')
  // The name is free again.
  const again = await pair.alpine.begin(source, 'boreal:disk.raw')
  await pair.boreal.until(again, ({ state }) => state === 'awaiting-approval')
})

test('a grant that asks: approval given while the sender is down holds', async (t) => {
  const pair = await startPair(t, { ticket: ['--approve', 'ask'] })
  const source = await writeSource(pair)
  const job = await pair.alpine.begin(source, 'boreal:disk.raw')
  await pair.boreal.until(job, ({ state }) => state === 'awaiting-approval')
  await pair.alpine.kill()
  await pair.boreal.tell('resume', job)
  await pair.alpine.start()
  await pair.alpine.finish(job)
  t.true(await sameBytes(source, pair.at('disk.raw')))
})

test('a second job for the same destination is refused at plan while the first runs', async (t) => {
  const pair = await startPair(t)
  const source = await writeSource(pair)
  const job = await pair.alpine.begin(source, 'boreal:disk.raw', ...RATE)
  await pair.boreal.until(job, ({ state }) => state === 'running')
  for (const [verb, name] of [
    ['plan', 'disk.raw'],
    ['move', 'disk.raw'],
  ] as const) {
    const { exit, lines } = await pair.alpine.run(verb, source, `boreal:${name}`, '--replace')
    t.is(exit, 7, verb)
    t.like(lines.at(-1), { type: 'error', code: 'NAME_BUSY', exit: 7 })
  }
  t.is((await pair.alpine.run('plan', source, 'boreal:other.raw')).exit, 0)
  await pair.alpine.finish(job)
  t.true(await sameBytes(source, pair.at('disk.raw')))
})

test('destinations outside the granted folder are refused with exit 4, and nothing is made', async (t) => {
  const pair = await startPair(t)
  const source = await writeSource(pair)
  const { imports } = pair.boreal.home
  await symlink(pair.boreal.folder, join(imports, 'out'))
  await symlink(join(pair.boreal.folder, 'secret'), join(imports, 'link.raw'))
  const before = [await readdir(imports), await readdir(pair.boreal.folder)]
  const names = [
    '../x',
    '/abs',
    'a/../../x',
    '.hidden',
    'a/.hidden',
    '',
    '.',
    '..',
    'out/x',
    'a//b',
    'a\\b',
    'link.raw',
    'x\n',
  ]
  for (const name of names) {
    for (const verb of ['plan', 'move']) {
      const { exit, lines } = await pair.alpine.run(verb, source, `boreal:${name}`, '--replace')
      t.is(exit, 4, `${verb} ${JSON.stringify(name)}: ${JSON.stringify(lines.at(-1))}`)
      t.like(lines.at(-1), { type: 'error', exit: 4 })
    }
  }
  t.deepEqual([await readdir(imports), await readdir(pair.boreal.folder)], before)
})

test('what the grant does not allow is refused with exit 4', async (t) => {
  const pair = await startPair(t, { ticket: ['--max', '1MiB'] })
  const source = await writeSource(pair)
  for (const verb of ['plan', 'move']) {
    const { exit, lines } = await pair.alpine.run(verb, source, 'boreal:disk.raw')
    t.is(exit, 4, verb)
    t.like(lines.at(-1), { type: 'error', code: 'TOO_LARGE' })
  }
  // Pairing grants nothing in the other direction.
  await writeFile(join(pair.boreal.folder, 'back.raw'), noise(4096, 1))
  const back = await pair.boreal.run('move', join(pair.boreal.folder, 'back.raw'), 'alpine:back.raw')
  t.is(back.exit, 4)
  t.like(back.lines.at(-1), { type: 'error', code: 'POLICY_DENIED' })
  await pair.boreal.tell('policy', 'set', 'alpine', '--deny')
  const denied = await pair.alpine.run('move', source, 'boreal:disk.raw')
  t.is(denied.exit, 4)
  t.like(denied.lines.at(-1), { type: 'error', code: 'POLICY_DENIED' })
})

test('what pair list says we may do there follows what the peer answers', async (t) => {
  const pair = await startPair(t)
  const source = await writeSource(pair)
  const granted = async () => {
    const [{ granted: there }] = (await pair.alpine.run('pair', 'list')).lines
    return (there as { write: boolean }).write
  }
  t.true(await granted())
  await pair.boreal.tell('policy', 'set', 'alpine', '--deny')
  t.is((await pair.alpine.run('plan', source, 'boreal:disk.raw')).exit, 4)
  t.false(await granted())
  await pair.boreal.tell('policy', 'set', 'alpine', '--into', pair.boreal.folder)
  t.is((await pair.alpine.run('move', source, 'boreal:disk.raw')).exit, 0)
  t.true(await granted())
  await pair.boreal.tell('policy', 'set', 'alpine', '--deny')
  t.is((await pair.alpine.run('move', source, 'boreal:again.raw')).exit, 4)
  t.false(await granted())
})

test('taking a grant away ends its running jobs', async (t) => {
  const pair = await startPair(t)
  const move = pair.alpine.run('move', await writeSource(pair), 'boreal:disk.raw', ...RATE)
  for (;;) {
    const [job] = await pair.boreal.jobs()
    if (job?.doneBytes > 0) break
  }
  await pair.boreal.tell('policy', 'set', 'alpine', '--deny')
  const { exit } = await move
  t.not(exit, 0)
  t.false(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
})

test('an unknown peer exits 12, a missing source 7, no agent 11, no home 10', async (t) => {
  const pair = await startPair(t)
  const source = await writeSource(pair)
  for (const verb of ['plan', 'move']) {
    const unpaired = await pair.alpine.run(verb, source, 'nobody:disk.raw')
    t.is(unpaired.exit, 12, verb)
    t.like(unpaired.lines.at(-1), { type: 'error', code: 'NOT_PAIRED', exit: 12 })
    const missing = await pair.alpine.run(verb, pair.source('none.raw'), 'boreal:disk.raw')
    t.is(missing.exit, 7, verb)
    t.like(missing.lines.at(-1), { type: 'error', code: 'SOURCE_MISSING' })
  }
  await pair.alpine.stop()
  const stopped = await pair.alpine.run('status')
  t.is(stopped.exit, 11)
  t.like(stopped.lines.at(-1), { type: 'error', code: 'AGENT_NOT_RUNNING', exit: 11 })
  const nowhere = await tempDir(t)
  t.is((await runIn(nowhere, join(nowhere, 'home'), ['status', '--json'])).exit, 10)
})

test('a peer that was removed is not let in again', async (t) => {
  const pair = await startPair(t)
  await pair.boreal.tell('pair', 'rm', 'alpine')
  const { exit, lines } = await pair.alpine.run('plan', await writeSource(pair), 'boreal:disk.raw')
  t.true([5, 12].includes(exit), `${exit} ${JSON.stringify(lines.at(-1))}`)
})

test('a second agent on one home exits 11 and does not disturb the first', async (t) => {
  const pair = await startPair(t)
  const second = spawnProgram([
    '--home',
    pair.alpine.home.path,
    'agent',
    '--json',
    '--no-mdns',
    '--listen',
    '/ip4/127.0.0.1/tcp/0',
  ])
  const [line] = await Promise.all([once(createInterface(second.stdout!), 'line'), once(second, 'exit')])
  t.is(second.exitCode, 11)
  t.like(JSON.parse(String(line[0])), { type: 'error', code: 'STATE_LOCKED', exit: 11 })
  await pair.alpine.tell('move', await writeSource(pair), 'boreal:disk.raw')
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
})

test('an agent stops cleanly on SIGTERM in the midst of a job, which goes on at its next start', async (t) => {
  const pair = await startProxiedPair(t)
  const job = await pair.alpine.begin(await writeSource(pair), 'boreal:disk.raw', ...RATE)
  for (const agent of [pair.boreal, pair.alpine]) {
    const carried = pair.lineBytes()
    await pair.alpine.until(job, () => pair.lineBytes() > carried + 2 * MiB)
    t.is(await agent.stop(), 0, await agent.log())
    await agent.start()
  }
  await pair.alpine.finish(job)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
})

test('one agent sends and receives at the same time, and serves several peers', async (t) => {
  const pair = await startPair(t)
  const cirrus = await startAgent(t, 'cirrus')
  await mkdir(join(pair.boreal.folder, 'cirrus'))
  await pairAgents(cirrus, pair.boreal, '--into', join(pair.boreal.folder, 'cirrus'))
  await pairAgents(pair.boreal, cirrus)
  const source = await writeSource(pair)
  await writeFile(join(pair.boreal.folder, 'out.raw'), noise(9 * MiB, 2))
  await Promise.all([
    pair.alpine.tell('move', source, 'boreal:one.raw'),
    pair.alpine.tell('move', source, 'boreal:two.raw'),
    cirrus.tell('move', source, 'boreal:three.raw'),
    pair.boreal.tell('move', join(pair.boreal.folder, 'out.raw'), 'cirrus:out.raw'),
  ])
  for (const name of ['one.raw', 'two.raw']) t.true(await sameBytes(source, pair.at(name)), name)
  t.true(await sameBytes(source, join(pair.boreal.folder, 'cirrus', 'three.raw')))
  t.true(await sameBytes(join(pair.boreal.folder, 'out.raw'), join(cirrus.home.imports, 'out.raw')))
})
