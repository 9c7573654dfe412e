import { EventEmitter } from 'node:events'
import test from 'ava'
import type { JobReport } from '../../agent/reports/job-reports.ts'
import { serveControl } from '../../agent/control/server.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { ERRORS } from '../../protocol/errors.ts'
import { openFakeSite } from '../helpers/command-line.ts'
import { fakeComplete, fakeJob, stream, streamUntilAborted } from '../helpers/fake-agent.ts'

const MOVE = ['move', 'disk.raw', 'beta:disk.raw']
const PROGRESS_KEYS =
  'v,type,job,state,logicalBytes,doneBytes,wireBytes,dedupedBytes,zeroBytes,bytesPerSecond,etaSeconds'.split(
    ',',
  )
const RESULT_KEYS =
  'v,type,job,state,logicalBytes,wireBytes,sentBytes,dedupedBytes,zeroBytes,resumedBytes,root,seconds,path'.split(
    ',',
  )

function errorOf(code: ErrorCode): NonNullable<JobReport['error']> {
  const { exit, hint, retryable } = ERRORS[code]
  return { code, message: `It was ${code}`, hint, retryable, exit }
}

test('move prints progress lines and then a result, with the fields of the contract', async (t) => {
  await using site = await openFakeSite()
  const { exit, lines, stderr } = await site.run([...MOVE, '--json'])
  t.is(exit, 0)
  t.is(stderr, '')
  t.deepEqual(
    lines.map(({ type, state }) => [type, state].join(' ')),
    ['progress running', 'progress complete', 'result complete'],
  )
  t.deepEqual(Object.keys(lines[0]), PROGRESS_KEYS)
  t.deepEqual(Object.keys(lines[2]), RESULT_KEYS)
  t.is(lines[1].etaSeconds, null)
})

test('move prints at most five progress lines a second', async (t) => {
  await using site = await openFakeSite({
    async *watch() {
      for (let count = 0; count < 1000; count++) yield { ...fakeJob, doneBytes: count }
      yield fakeComplete
    },
  })
  const started = performance.now()
  const { lines } = await site.run([...MOVE, '--json'])
  const seconds = (performance.now() - started) / 1000
  const running = lines.filter(({ type, state }) => type === 'progress' && state === 'running')
  t.true(running.length <= 1 + seconds * 5, `${running.length} lines in ${seconds} s`)
})

test('move --detach prints one progress line with the id and ends', async (t) => {
  await using site = await openFakeSite()
  const { exit, lines } = await site.run([...MOVE, '--detach', '--json'])
  t.is(exit, 0)
  t.is(lines.length, 1)
  t.deepEqual(Object.keys(lines[0]), PROGRESS_KEYS)
  t.deepEqual(
    site.calls.map(([call]) => call),
    ['move'],
  )
})

test('move --detach prints the id alone for a person', async (t) => {
  await using site = await openFakeSite()
  const { stdout, stderr } = await site.run([...MOVE, '--detach'])
  t.is(stdout, 'job-1\n')
  t.regex(stderr, /fluidcloud watch job-1/)
})

for (const code of [
  'POLICY_DENIED',
  'SOURCE_CHANGED',
  'NO_SPACE',
  'VERIFY_MISMATCH',
  'NO_PATH',
  'SOURCE_READ',
  'PARTIAL',
] as const) {
  test(`move exits with the status of ${code} when the job fails of it`, async (t) => {
    await using site = await openFakeSite({
      watch: () => stream({ ...fakeJob, state: 'failed', error: errorOf(code) }),
    })
    const { exit, lines } = await site.run([...MOVE, '--json'])
    t.is(exit, ERRORS[code].exit)
    const error = lines.at(-1)
    t.deepEqual(Object.keys(error ?? {}), ['v', 'type', 'code', 'message', 'hint', 'retryable', 'exit'])
    t.like(error, { type: 'error', code, exit, retryable: ERRORS[code].retryable })
  })
}

test('move leaves a job that is paused for a reason, and says how to resume it', async (t) => {
  await using site = await openFakeSite({
    watch: (_, call) => streamUntilAborted({ ...fakeJob, state: 'paused', error: errorOf('NO_SPACE') }, call),
  })
  const { exit, stderr } = await site.run(MOVE)
  t.is(exit, 7)
  t.regex(stderr, /NO_SPACE/)
  t.regex(stderr, /fluidcloud resume job-1/)
})

test('move exits 130 when the job is cancelled elsewhere', async (t) => {
  await using site = await openFakeSite({
    watch: () => stream<JobReport>({ ...fakeJob, state: 'cancelled' }),
  })
  const { exit, lines } = await site.run([...MOVE, '--json'])
  t.is(exit, 130)
  t.is(lines.at(-1)?.code, 'CANCELLED')
})

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`move leaves a job running at ${signal}, exits 130 and says how to come back`, async (t) => {
    const signals = new EventEmitter()
    await using site = await openFakeSite({ watch: (_, call) => streamUntilAborted(fakeJob, call) })
    const interruptAtProgress = (text: string): void =>
      void (text.includes('progress') && signals.emit(signal))
    const machine = await site.run([...MOVE, '--json'], { signals, onOutput: interruptAtProgress })
    t.is(machine.exit, 130)
    t.like(machine.lines.at(-1), { type: 'error', code: 'INTERRUPTED', retryable: true, exit: 130 })
    t.regex(String(machine.lines.at(-1)?.hint), /fluidcloud watch job-1/)
    t.false(site.calls.some(([call]) => call === 'cancel' || call === 'pause'))
    t.deepEqual(machine.exits, [])
    t.is(signals.listenerCount(signal), 0)
  })
}

test('move leaves at once at the second SIGINT', async (t) => {
  const signals = new EventEmitter()
  await using site = await openFakeSite({ watch: (_, call) => streamUntilAborted(fakeJob, call) })
  const twice = (text: string): void => {
    if (!text.includes('progress')) return
    signals.emit('SIGINT')
    signals.emit('SIGINT')
  }
  const { exits } = await site.run([...MOVE, '--json'], { signals, onOutput: twice })
  t.deepEqual(exits, [130])
})

test('watch goes on across a restart of the agent', async (t) => {
  let watches = 0
  await using site = await openFakeSite({
    watch: (_, call) => (++watches === 1 ? streamUntilAborted(fakeJob, call) : stream(fakeComplete)),
  })
  let restarted: Promise<void> | undefined
  const restart = async (): Promise<void> => {
    await site.server[Symbol.asyncDispose]()
    site.server = await serveControl(site.api, site.home)
  }
  const { exit, lines } = await site.run(['watch', 'job-1', '--json'], {
    onOutput: () => void (restarted ??= restart()),
  })
  await restarted
  t.is(exit, 0)
  t.is(lines.at(-1)?.type, 'result')
  t.is(watches, 2)
})

test('watch without a job shows results of all and ends when none is left', async (t) => {
  await using site = await openFakeSite({
    watch: () =>
      stream<JobReport>(fakeJob, { ...fakeJob, job: 'job-2' }, fakeComplete, {
        ...fakeJob,
        job: 'job-2',
        state: 'failed',
        error: errorOf('TIMEOUT'),
      }),
  })
  const { exit, lines } = await site.run(['watch', '--json'])
  t.is(exit, 0)
  t.deepEqual(
    lines.map(({ type, job, state }) => [type, job, state].join(' ')),
    [
      'progress job-1 running',
      'progress job-2 running',
      'progress job-1 complete',
      'result job-1 complete',
      'progress job-2 failed',
    ],
  )
})

test('move shows a live line on a terminal and takes it off before the summary', async (t) => {
  await using site = await openFakeSite()
  const { stdout, stderr } = await site.run(MOVE, { columns: 80 })
  t.regex(stderr, /disk\.raw.* 25%/)
  t.true(stderr.endsWith('\r\x1b[J'))
  t.regex(stdout, /beta:disk\.raw is complete and verified/)
})

test('move --quiet prints the summary alone', async (t) => {
  await using site = await openFakeSite()
  const { stdout, stderr } = await site.run([...MOVE, '--quiet'], { columns: 80 })
  t.is(stderr, '')
  t.regex(stdout, /complete and verified/)
})

test('pause, resume and cancel say what a job waits for when it is not what was asked', async (t) => {
  const reports = { reconnecting: { ...fakeJob, state: 'reconnecting' } as JobReport }
  await using site = await openFakeSite({
    cancel: async () => reports.reconnecting,
    pause: async () => ({ ...fakeJob, state: 'paused' }),
    resume: async () => ({ ...fakeJob, state: 'awaiting-approval' }),
  })
  const said = async (verb: string) => (await site.run([verb, 'job-1'])).stdout
  t.regex(await said('cancel'), /^! Job job-1 is to be cancelled once its peer can be told.*reconnecting\n$/)
  t.regex(await said('pause'), /Job job-1 is paused\n$/)
  t.regex(await said('resume'), /approves it there with fluidcloud resume job-1\n$/)
  await using held = await openFakeSite({ resume: async () => ({ ...fakeJob, state: 'paused' }) })
  t.regex(
    (await held.run(['resume', 'job-1'])).stdout,
    /^! .* resumed at beta too: fluidcloud resume job-1 there\n$/,
  )
})

test('cancel of a job that failed says that it stays so, and what becomes of what it staged', async (t) => {
  await using site = await openFakeSite({ cancel: async () => ({ ...fakeJob, state: 'failed' }) })
  const { exit, stdout } = await site.run(['cancel', 'job-1'])
  t.is(exit, 0)
  t.regex(stdout, /Job job-1 had failed; beta keeps nothing of it once it is told\n$/)
})

const away: JobReport = { ...fakeJob, state: 'reconnecting', error: errorOf('PEER_UNREACHABLE') }

test('move says once what a job waits for, that it goes on by itself, and how to end it', async (t) => {
  const back: JobReport = { ...away, state: 'running', error: undefined }
  for (const columns of [80, undefined]) {
    await using site = await openFakeSite({ watch: () => stream(away, away, back, away, fakeComplete) })
    const { exit, stderr } = await site.run(MOVE, { columns })
    t.is(exit, 0)
    const said = stderr.match(
      /It was PEER_UNREACHABLE\. The job waits for beta.*fluidcloud cancel job-1.*\n/g,
    )
    t.is(said?.length, 2, stderr)
  }
})

test('progress lines say why a job waits', async (t) => {
  await using site = await openFakeSite({ watch: () => stream(away, fakeComplete) })
  const { lines } = await site.run([...MOVE, '--json'])
  t.like(
    lines.find(({ state }) => state === 'reconnecting'),
    { type: 'progress', error: { code: 'PEER_UNREACHABLE', retryable: true } },
  )
})
