/** A whole service between two agents: cold, refused, unhealthy, taken back; and both agents killed wherever they can be. */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import type { Line } from '../helpers/agent-process.ts'
import {
  answers,
  startRelocationPair,
  untilRelocation,
  untilState,
  type RelocationPair,
} from '../helpers/relocation-pair.ts'
import { DISK_BYTES } from '../helpers/local-service.ts'
import { sameBytes } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

/** What lies at the target beside what is kept for nobody. */
async function leftBehind({ boreal }: RelocationPair): Promise<string[]> {
  return (await readdir(boreal.home.imports, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
}

test('relocate moves a service, checks it, and leaves it stopped here until finalize', async (t) => {
  const pair = await startRelocationPair(t)
  const { alpine, service, here, there } = pair
  for (const number of [1, 2, 3]) await service.record(number)
  const plan = await alpine.tell('relocate', pair.file, '--to', 'boreal', '--dry-run')
  t.like(plan, { type: 'plan', feasible: true, service: 'web', live: false })
  t.like(plan.machines[0].disks[0], { disk: 'vda', moves: true, sizeBytes: DISK_BYTES })
  t.deepEqual(await there.machines(), [], 'A plan changes nothing')
  const { lines } = await alpine.run('relocate', pair.file, '--to', 'boreal')
  const result = lines.at(-1)!
  t.like(result, { type: 'result', state: 'live', rounds: 1 })
  t.true(lines.slice(0, -1).every(({ type }) => type === 'relocation'))
  t.is(await here.state('web'), 'stopped')
  t.is(await there.state('web-there'), 'running')
  t.deepEqual(await answers(service), [1, 2, 3])
  t.false(await service.ranTwice())
  const disk = (await there.machine('web-there')).disks[0].path
  t.true(await sameBytes(service.disk, disk))
  t.like(await alpine.tell('jobs'), { type: 'job', state: 'complete' })
  const job = result.job as string
  await showsWhatWasSigned(t, pair, job)
  t.like(await alpine.tell('finalize', job), { type: 'result', state: 'finalized' })
  t.deepEqual(await here.machines(), [])
  t.false((await readdir(dirname(service.disk))).includes('web.raw'))
  await service.record(4)
  t.deepEqual(await answers(service), [1, 2, 3, 4])
})

test('finalize leaves a machine alone that its owner has made anew under the old name', async (t) => {
  const pair = await startRelocationPair(t)
  const { alpine, service, here } = pair
  const job = await pair.begin()
  await untilState(alpine, job, 'live')
  const web = await here.machine('web')
  await here.undefine('web', { disks: true })
  const anew = Buffer.alloc(DISK_BYTES, 'anew')
  await writeFile(service.disk, anew)
  await here.define(web)
  await alpine.run('finalize', job, '--detach')
  const { error } = await untilRelocation(alpine, job, (report) => report.error !== undefined)
  t.is(error?.code, 'CLOUD_FAILED')
  t.is(error?.message, 'web here is not the machine that moved, and is not removed')
  t.deepEqual(await here.machines(), ['web'])
  // Its owner gives it another name.
  await here.undefine('web', { disks: false })
  await here.define({ ...web, name: 'web-anew' })
  await untilState(alpine, job, 'finalized')
  t.deepEqual(await here.machines(), ['web-anew'])
  t.true(anew.equals(await readFile(service.disk)))
})

test('a name that a relocation from here has yet to let go of is taken by none to here', async (t) => {
  const pair = await startRelocationPair(t)
  const { alpine, here } = pair
  const job = await pair.begin()
  await untilState(alpine, job, 'live')
  await here.undefine('web', { disks: true })
  await alpine.tell('policy', 'set', 'boreal', '--relocate', 'local')
  const ask = () => planBack(pair, 'web')
  const refused = (await ask())?.reasons as { code: string; message: string }[]
  t.deepEqual(
    refused.map(({ code, message }) => ({ code, message })),
    [
      { code: 'NAME_BUSY', message: 'A relocation from here has the name web until it is finalized' },
      { code: 'JOB_STATE', message: 'web-there came from alpine, which may take it back' },
    ],
  )
  await alpine.tell('finalize', job)
  t.like(await ask(), { type: 'plan', feasible: true })
})

test('what its source may take back is relocated to nobody else before', async (t) => {
  const pair = await startRelocationPair(t)
  const { alpine } = pair
  const job = await pair.begin()
  await untilState(alpine, job, 'live')
  await alpine.tell('policy', 'set', 'boreal', '--relocate', 'local')
  const ask = () => planBack(pair, 'web-on')
  const refused = (await ask())?.reasons as { code: string; hint: string }[]
  t.is(refused[0].code, 'JOB_STATE')
  t.regex(refused[0].hint, new RegExp(`finalize ${job}`))
  await alpine.tell('finalize', job)
  t.like(await ask(), { type: 'plan', feasible: true })
})

/** What the target's agent would say to relocating the machine back to here, as `name`. */
async function planBack({ boreal, file }: RelocationPair, name: string) {
  const back = join(dirname(file), 'back.toml')
  await writeFile(back, `[[machine]]\nname = "web-there"\n[machine.target]\nname = "${name}"\n`)
  const { lines } = await boreal.run('relocate', back, '--to', 'alpine', '--dry-run')
  return lines.find(({ type }) => type === 'plan')
}

/** Both ends have the same words of both, and each can prove them. */
async function showsWhatWasSigned(t: ExecutionContext, { alpine, boreal }: RelocationPair, job: string) {
  const [here, there] = await Promise.all([alpine, boreal].map((agent) => agent.tell('receipt', job)))
  const signed = { type: 'receipt', service: 'web', signaturesValid: true, missing: [] }
  t.like(here, { ...signed, side: 'source', state: 'live' })
  t.like(there, { ...signed, side: 'target', state: 'committed' })
  t.deepEqual(there.roots, here.roots)
  const lasting = ({ bodies }: Line) =>
    (bodies as { kind: string; body: string; signature: string }[])
      .filter(({ kind }) => kind !== 'term')
      .map(({ kind, body, signature }) => ({ kind, body, signature }))
  t.deepEqual(
    lasting(here).map(({ kind }) => kind),
    ['plan', 'final', 'outcome', 'pledge'],
  )
  t.deepEqual(lasting(there), lasting(here))
}

test('an unhealthy service runs here again, and nothing of it is left there', async (t) => {
  const pair = await startRelocationPair(t, { gate: '3s' })
  const { alpine, service, here, there } = pair
  await service.record(1)
  await service.sicken('web-there')
  const { exit, lines } = await alpine.run('relocate', pair.file, '--to', 'boreal')
  t.is(exit, 1)
  t.like(lines.at(-1), { type: 'error', code: 'HEALTH_FAILED' })
  t.like(lines.at(-2), { type: 'result', state: 'rolled-back', sourceRuns: true })
  t.is(await here.state('web'), 'running')
  t.deepEqual(await answers(service), [1])
  t.deepEqual(await there.machines(), [])
  t.deepEqual(await leftBehind(pair), [])
  t.false(await service.ranTwice())
})

test('rollback of a live service stops it there first, and it runs here as it was', async (t) => {
  const pair = await startRelocationPair(t)
  const { alpine, service, here, there } = pair
  await service.record(1)
  const job = await pair.begin()
  await untilState(alpine, job, 'live')
  await service.record(2)
  t.like(await alpine.tell('rollback', job), { type: 'result', state: 'rolled-back', sourceRuns: true })
  t.is(await here.state('web'), 'running')
  t.deepEqual(await answers(service), [1], 'What was written there since is lost')
  t.deepEqual(await there.machines(), [])
  t.deepEqual(await leftBehind(pair), [])
  t.false(await service.ranTwice())
})

test('a peer without the grant is refused, and nothing is touched', async (t) => {
  const pair = await startRelocationPair(t)
  await pair.boreal.tell('policy', 'set', 'alpine', '--deny')
  const { exit, lines } = await pair.alpine.run('relocate', pair.file, '--to', 'boreal')
  t.is(exit, 4)
  t.like(lines.at(-1), { type: 'error', code: 'POLICY_DENIED' })
  t.is(await pair.here.state('web'), 'running')
})

/** Where alpine dies on the way: each state, and what lies between two. */
const SOURCE_DEATHS = [
  ['planned', 'cutting-over', 'halted', 'after-last-snapshot'],
  ['before-hand-over', 'adapting', 'starting', 'verifying'],
  ['healthy', 'live', 'before-commit'],
] as const

for (const points of SOURCE_DEATHS) {
  test(`alpine may be killed at ${points.join(', ')}: it goes on by itself`, async (t) => {
    t.timeout(170_000)
    const pair = await startRelocationPair(t)
    const { alpine, service, here, there } = pair
    await service.record(1)
    for (const point of points) {
      await alpine.stop()
      await alpine.start({ FLUIDCLOUD_CRASH_AT: point })
      // It may die before it has answered.
      const begun = pair.begin().catch(() => undefined)
      await alpine.died()
      await begun
      await alpine.start()
      const [{ job }] = (await alpine.run('jobs')).lines
      const report = await untilState(alpine, job as string, 'live', 'rolled-back', 'failed')
      t.is(report.state, 'live', `${point}: ${JSON.stringify(report.error)}`)
      t.deepEqual(await answers(service), [1], point)
      t.is(await here.state('web'), 'stopped', point)
      t.is(await there.state('web-there'), 'running', point)
      await alpine.tell('rollback', job as string)
      t.deepEqual(await answers(service), [1], point)
      t.deepEqual(await there.machines(), [], point)
      t.deepEqual(await leftBehind(pair), [], point)
    }
    t.false(await service.ranTwice())
  })
}

test('alpine may be killed on its way back, and while it removes what it had', async (t) => {
  t.timeout(170_000)
  const pair = await startRelocationPair(t)
  const { alpine, service, here, there } = pair
  await service.record(1)
  const die = async (point: string, verb: 'rollback' | 'finalize') => {
    await alpine.stop()
    await alpine.start({ FLUIDCLOUD_CRASH_AT: point })
    const job = await pair.begin()
    const { state, error, detail } = await untilState(alpine, job, 'live', 'rolled-back', 'failed')
    t.is(state, 'live', `${point}: ${JSON.stringify(error)} ${detail}`)
    await alpine.run(verb, job, '--detach').catch(() => undefined)
    await alpine.died()
    await alpine.start()
    return job
  }
  for (const point of ['rolling-back', 'restored']) {
    await untilState(alpine, await die(point, 'rollback'), 'rolled-back')
    t.deepEqual(await answers(service), [1], point)
    t.is(await here.state('web'), 'running', point)
    t.deepEqual(await there.machines(), [], point)
  }
  await untilState(alpine, await die('undefined', 'finalize'), 'finalized')
  t.deepEqual(await here.machines(), [])
  t.deepEqual(await answers(service), [1])
  t.false(await service.ranTwice())
})

/** Where boreal dies. */
const TARGET_DEATHS = ['target-adapting', 'target-registered', 'target-started', 'target-healthy'] as const

test('boreal may be killed while it takes the service in', async (t) => {
  t.timeout(170_000)
  const pair = await startRelocationPair(t)
  const { alpine, boreal, service, here, there } = pair
  await service.record(1)
  for (const point of TARGET_DEATHS) {
    await boreal.stop()
    await boreal.start({ FLUIDCLOUD_CRASH_AT: point })
    const job = await pair.begin()
    await boreal.died()
    await boreal.start()
    const { state } = await untilState(alpine, job, 'live', 'rolled-back')
    t.deepEqual(await answers(service), [1], point)
    if (state === 'live') await alpine.tell('rollback', job)
    t.is(await here.state('web'), 'running', point)
    t.deepEqual(await there.machines(), [], point)
  }
  t.false(await service.ranTwice())
})

test('a target that dies for good has the service run here again', async (t) => {
  t.timeout(120_000)
  const pair = await startRelocationPair(t)
  const { alpine, boreal, service, here } = pair
  await service.record(1)
  await boreal.stop()
  await boreal.start({ FLUIDCLOUD_CRASH_AT: 'target-started' })
  const job = await pair.begin()
  await boreal.died()
  await untilRelocation(alpine, job, ({ sourceRuns }) => sourceRuns)
  t.is(await here.state('web'), 'running')
  t.deepEqual(await answers(service), [1])
  t.false(await service.ranTwice())
  await boreal.start()
  await untilState(alpine, job, 'rolled-back')
  t.deepEqual(await pair.there.machines(), [])
})
