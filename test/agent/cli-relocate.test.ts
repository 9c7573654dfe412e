import { EventEmitter } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import type { RelocationReport } from '../../agent/reports/relocation-reports.ts'
import { FluidError } from '../../protocol/errors.ts'
import { openFakeSite, type FakeSite } from '../helpers/command-line.ts'
import {
  failing,
  fakeEvidence,
  fakeLive,
  fakeRelocation,
  fakeRelocationPlan,
  stream,
  streamUntilAborted,
  type FakeAnswers,
} from '../helpers/fake-agent.ts'

const SERVICE = '[[machine]]\nname = "web"\n'

async function site(answers?: FakeAnswers): Promise<FakeSite> {
  const opened = await openFakeSite(answers)
  await writeFile(join(opened.folder, 'service.toml'), SERVICE)
  return opened
}

const refused = {
  code: 'GUEST_UNSUPPORTED',
  message: 'web: vda1 is encrypted (LUKS)',
  hint: 'Nothing was touched',
  retryable: false,
  exit: 7,
} as const
const cancelled = { code: 'CANCELLED', message: 'Taken back', hint: '', retryable: false, exit: 130 } as const
const unhealthy = {
  code: 'HEALTH_FAILED',
  message: 'http said 500',
  hint: '',
  retryable: true,
  exit: 1,
} as const

test('relocate --live follows to the end and prints a result', async (t) => {
  await using at = await site()
  const { exit, lines } = await at.run(['relocate', 'service.toml', '--to', 'beta', '--live', '--json'])
  t.is(exit, 0)
  t.deepEqual(at.calls[0], ['relocate', { text: SERVICE, peer: 'beta', brokers: [], live: true }])
  t.true(lines.slice(0, -1).every(({ type }) => type === 'relocation'))
  t.like(lines[0], { job: fakeRelocation.job, state: 'converging', round: 2, predictedDowntimeSeconds: 1.2 })
  t.like(lines.at(-1), {
    v: 1,
    type: 'result',
    job: fakeRelocation.job,
    state: 'live',
    downtimeSeconds: 4.2,
    pauseToDataSeconds: 0.8,
    startToHealthySeconds: 3.1,
    roots: fakeLive.roots,
  })
})

test('relocate tells people how it went', async (t) => {
  await using at = await site()
  const { exit, stdout, stderr } = await at.run(['relocate', 'service.toml', '--to', 'beta', '--live'])
  t.is(exit, 0)
  t.regex(stderr, /shop {2}converging {2}round 3.*12\.0 MiB written.*downtime 1\.2 s/)
  t.regex(stdout, /shop is live at beta[^]*downtime +4\.2 s[^]*web\/vda +b3:abab[^]*finalize/)
})

test('relocate exits with the error of what was rolled back', async (t) => {
  const back: RelocationReport = { ...fakeLive, state: 'rolled-back', error: unhealthy, sourceRuns: true }
  await using at = await site({ relocationWatch: () => stream(fakeRelocation, back) })
  const { exit, lines } = await at.run(['relocate', 'service.toml', '--to', 'beta', '--json'])
  t.is(exit, 1)
  t.like(lines.at(-2), { type: 'result', state: 'rolled-back', sourceRuns: true })
  t.like(lines.at(-1), { type: 'error', code: 'HEALTH_FAILED', exit: 1 })
})

test('relocate --dry-run draws the plan in Unicode, or in ASCII', async (t) => {
  await using at = await site()
  const argv = ['relocate', 'service.toml', '--to', 'beta', '--live', '--dry-run']
  const { stdout } = await at.run(argv, { env: { LC_ALL: 'C.UTF-8' } })
  t.regex(stdout, /├─ web → web-2[^]*└─ s3\.example\.org/)
  t.regex(stdout, /postgres:\/\/shop:\*\*\*@db\/shop.*→ moves/)
  t.regex(stdout, /web:\/etc\/hostname\n[^]*-web\n[^]*\+web-2/)
  t.regex((await at.run(argv, { env: { LC_ALL: 'C' } })).stdout, /\|- web -> web-2/)
  t.is(at.calls[0]?.[0], 'relocationPlan')
})

test('relocate --dry-run exits with the first reason against it', async (t) => {
  await using at = await site({
    relocationPlan: async () => ({ ...fakeRelocationPlan, feasible: false, reasons: [refused] }),
  })
  const { exit, lines } = await at.run(['relocate', 'service.toml', '--to', 'beta', '--dry-run', '--json'])
  t.is(exit, 7)
  t.like(lines[0], { type: 'plan', feasible: false, service: 'shop' })
  t.like(lines[1], { type: 'error', code: 'GUEST_UNSUPPORTED', exit: 7 })
})

test('relocate refuses a wrong file before anybody is asked', async (t) => {
  await using at = await site()
  await writeFile(join(at.folder, 'service.toml'), '[[machine]]\nname = "web"\nned = ["db"]')
  const { exit, stderr } = await at.run(['relocate', 'service.toml', '--to', 'beta'])
  t.is(exit, 2)
  t.regex(stderr, /ned[^]*Did you mean machine\[0\]\.need/)
  t.deepEqual(at.calls, [])
})

test('relocate --detach prints the id and ends', async (t) => {
  await using at = await site()
  const { exit, stdout } = await at.run(['relocate', 'service.toml', '--to', 'beta', '--detach', '--quiet'])
  t.is(exit, 0)
  t.is(stdout, `${fakeRelocation.job}\n`)
})

test('relocate leaves it running on Ctrl-C', async (t) => {
  const signals = new EventEmitter()
  await using at = await site({ relocationWatch: (_, call) => streamUntilAborted(fakeRelocation, call) })
  const { exit, lines } = await at.run(['relocate', 'service.toml', '--to', 'beta', '--json'], {
    signals,
    onOutput: () => void signals.emit('SIGINT'),
  })
  t.is(exit, 130)
  t.like(lines.at(-1), { type: 'error', code: 'INTERRUPTED' })
  t.false(at.calls.some(([call]) => call === 'rollback'))
})

test('rollback waits until all is as before, which is a success', async (t) => {
  const back: RelocationReport = {
    ...fakeRelocation,
    state: 'rolled-back',
    error: cancelled,
    sourceRuns: true,
  }
  await using at = await site({ relocationWatch: () => stream(back) })
  const { exit, stdout } = await at.run(['rollback', fakeRelocation.job])
  t.is(exit, 0)
  t.regex(stdout, /shop runs here as before; nothing is left at beta/)
})

test('rollback --target-gone asks for no word of the target', async (t) => {
  const back: RelocationReport = { ...fakeRelocation, state: 'rolled-back', error: cancelled }
  await using at = await site({ relocationWatch: () => stream(back) })
  await at.run(['rollback', fakeRelocation.job, '--target-gone'])
  t.deepEqual(at.calls[0], ['rollback', { job: fakeRelocation.job, targetGone: true }])
})

test('rollback says that what was written since the cut-over is lost', async (t) => {
  await using at = await site({
    rollback: async () => ({ ...fakeLive, state: 'rolling-back' }),
    relocationWatch: () => stream<RelocationReport>({ ...fakeLive, state: 'rolled-back', sourceRuns: true }),
  })
  t.regex((await at.run(['rollback', fakeRelocation.job])).stderr, /written at the target.*is lost/)
})

test('finalize waits until the machines are gone', async (t) => {
  await using at = await site({
    relocationWatch: () => stream<RelocationReport>({ ...fakeLive, state: 'finalized', wanted: 'finalize' }),
  })
  const { exit, lines } = await at.run(['finalize', fakeRelocation.job, '--keep-disks', '--json'])
  t.is(exit, 0)
  t.deepEqual(at.calls[0], ['finalize', { job: fakeRelocation.job, keepDisks: true }])
  t.like(lines.at(-1), { type: 'result', state: 'finalized' })
})

test('cutover warns with what it will cost', async (t) => {
  await using at = await site()
  const { exit, stderr } = await at.run(['cutover', fakeRelocation.job])
  t.is(exit, 0)
  t.regex(stderr, /stand still for about 1\.2 s/)
})

for (const [verb, call] of [
  ['pause', 'relocationPause'],
  ['resume', 'relocationResume'],
  ['cancel', 'rollback'],
] as const) {
  test(`${verb} takes the id of a relocation`, async (t) => {
    await using at = await site({
      [verb]: failing('JOB_UNKNOWN', 'There is no such job'),
      relocations: async () => [fakeRelocation],
    })
    const { exit, lines } = await at.run([verb, fakeRelocation.job.slice(0, 8), '--json'])
    t.is(exit, 0)
    t.deepEqual(at.calls.at(-1), [call, { job: fakeRelocation.job }])
    t.like(lines.at(-1), { type: 'relocation', job: fakeRelocation.job })
  })
}

test('watch without an id follows relocations as well as jobs', async (t) => {
  const going = { relocationWatch: () => stream(fakeRelocation, fakeLive) }
  await using at = await site(going)
  const { exit, lines } = await at.run(['watch', '--json'])
  t.is(exit, 0)
  const said = lines.map(({ type, job, state }) =>
    [type, job === fakeRelocation.job ? 'shop' : job, state].join(' '),
  )
  for (const line of [
    'relocation shop converging',
    'relocation shop live',
    'result shop live',
    'result job-1 complete',
  ])
    t.is(said.filter((each) => each === line).length, 1, said.join('\n'))
  t.deepEqual(at.calls.find(([call]) => call === 'relocationWatch')?.[1], {})
  await using other = await site(going)
  const { stdout, stderr } = await other.run(['watch'])
  t.regex(stderr, /shop {2}converging {2}round 3/)
  t.regex(stdout, /shop is live at beta/)
})

test('pause and finalize say what is yet to come', async (t) => {
  const answers = {
    pause: failing('JOB_UNKNOWN', 'There is no such job'),
    relocations: async () => [fakeRelocation],
    relocationPause: async () => ({ ...fakeRelocation, wanted: 'pause' as const }),
  }
  await using at = await site(answers)
  t.regex((await at.run(['pause', fakeRelocation.job])).stdout, /is converging, to be paused/)
  t.like((await at.run(['pause', fakeRelocation.job, '--json'])).lines[0], {
    type: 'relocation',
    state: 'converging',
    wanted: 'pause',
  })
  t.regex((await at.run(['finalize', fakeRelocation.job, '--detach'])).stdout, /is finalizing/)
})

test('watch follows a relocation, and jobs and status list it', async (t) => {
  await using at = await site({
    watch: () => {
      throw new FluidError('JOB_UNKNOWN', 'There is no such job')
    },
    relocations: async () => [fakeRelocation],
  })
  t.like((await at.run(['watch', fakeRelocation.job, '--json'])).lines.at(-1), {
    type: 'result',
    state: 'live',
  })
  t.like((await at.run(['jobs', '--json'])).lines[0], { type: 'relocation', job: fakeRelocation.job })
  t.regex((await at.run(['jobs'])).stdout, /RELOCATION[^]*converging[^]*shop \(web, db\)/)
})

test('receipt of a relocation shows who signed what, and says when something is not valid', async (t) => {
  await using at = await site({
    receipt: failing('JOB_UNKNOWN', 'There is no such job'),
    relocationReceipt: async () => fakeEvidence,
  })
  const { exit, stdout } = await at.run(['receipt', fakeEvidence.job])
  t.is(exit, 0)
  t.regex(stdout, /shop, live[^]*web\/vda +b3:abab[^]*all valid[^]*pledge +source +gives them up for good/)
  t.like((await at.run(['receipt', fakeEvidence.job, '--json'])).lines[0], {
    type: 'receipt',
    job: fakeEvidence.job,
    side: 'source',
    signaturesValid: true,
  })
  await using other = await site({
    receipt: failing('JOB_UNKNOWN', 'There is no such job'),
    relocationReceipt: async () => ({ ...fakeEvidence, missing: ['outcome'], signaturesValid: false }),
  })
  const broken = await other.run(['receipt', fakeEvidence.job])
  t.is(broken.exit, 6)
  t.regex(broken.stdout, /missing: outcome/)
})
