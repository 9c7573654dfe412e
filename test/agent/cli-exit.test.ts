import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, rm } from 'node:fs/promises'
import path from 'node:path'
import test from 'ava'
import { sourceWarnings } from '../../agent/jobs/source-warnings.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { openFakeSite, openTempFolder, runIn } from '../helpers/command-line.ts'
import { failing, fakeComplete, fakePlan } from '../helpers/fake-agent.ts'

const MAIN = path.join(import.meta.dirname, '..', '..', 'agent', 'main.ts')

for (const code of Object.keys(ERRORS) as ErrorCode[]) {
  test(`runCli() exits ${ERRORS[code].exit} for ${code}`, async (t) => {
    await using site = await openFakeSite({ jobs: failing(code, 'It failed') })
    const machine = await site.run(['jobs', '--json'])
    const { exit, retryable } = ERRORS[code]
    const hint = code === 'USAGE' ? 'See fluidcloud jobs --help' : ERRORS[code].hint
    t.is(machine.exit, exit)
    t.deepEqual(machine.lines, [{ v: 1, type: 'error', code, message: 'It failed', hint, retryable, exit }])
    t.is(machine.stderr, '')
    const person = await site.run(['jobs'])
    t.is(person.exit, exit)
    t.is(person.stdout, '')
    t.is(person.stderr, `error: It failed\n  code  ${code}\n  hint  ${hint}\n`)
  })
}

test('runCli() exits 10 in a home without identity and 11 without an agent', async (t) => {
  await using folder = await openTempFolder()
  const home = path.join(folder.path, 'home')
  t.is((await runIn(folder.path, home, ['jobs'])).exit, 10)
  t.is((await runIn(folder.path, home, ['id'])).exit, 10)
  t.is((await runIn(folder.path, home, ['agent'])).exit, 10)
  t.is((await runIn(folder.path, home, ['init', '--name', 'alpha'])).exit, 0)
  t.is((await runIn(folder.path, home, ['jobs'])).exit, 11)
  t.is((await runIn(folder.path, home, ['init'])).exit, 2)
})

test('id knows the peer ID without an agent', async (t) => {
  await using folder = await openTempFolder()
  const home = path.join(folder.path, 'home')
  const made = await runIn(folder.path, home, ['init', '--name', 'alpha', '--json'])
  const { exit, lines } = await runIn(folder.path, home, ['id', '--json'])
  t.is(exit, 0)
  t.like(lines[0], {
    v: 1,
    type: 'id',
    name: 'alpha',
    peerId: made.lines[0].peerId,
    addrs: [],
    dataAddrs: [],
  })
})

const infeasible = { code: 'NO_SPACE', message: 'Full', hint: 'Free some', retryable: true, exit: 7 } as const

test('main refuses names that are not UTF-8, which would be other names by the time they are used', async (t) => {
  await using site = await openFakeSite()
  const move = async (args: string) => {
    const command = `exec "$0" "$1" move ${args} --detach --json --home "$2"`
    const child = spawn('bash', ['-c', command, process.execPath, MAIN, site.home.path], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [text, [status]] = await Promise.all([
      new Response(child.stdout as never).text(),
      once(child, 'exit'),
    ])
    return [status, (JSON.parse(text) as { code?: string }).code]
  }
  t.deepEqual(await move(String.raw`disk.raw $'beta:disk\xff.raw'`), [4, 'NAME_INVALID'])
  t.deepEqual(await move(String.raw`$'disk\xff.raw' beta:disk.raw`), [2, 'USAGE'])
  t.deepEqual(await move('dìsk.raw beta:dìsk.raw'), [0, undefined])
  t.is(site.calls.length, 1)
})

test('plan exits with the status of its first reason', async (t) => {
  for (const [reasons, status] of [
    [[infeasible], 7],
    [[{ ...infeasible, code: 'POLICY_DENIED' as const }, infeasible], 4],
    // Found in time, it is no surprise.
    [[{ ...infeasible, code: 'TARGET_WRITE' as const, exit: 1 }, infeasible], 7],
    [[{ ...infeasible, code: 'UNEXPECTED' as const, exit: 1 }], 1],
    [[], 7],
  ] as const) {
    await using site = await openFakeSite({ plan: async () => ({ ...fakePlan, feasible: false, reasons }) })
    const { exit, lines } = await site.run(['plan', 'a', 'beta:b', '--json'])
    t.is(exit, status)
    t.like(lines[0], { type: 'plan', feasible: false })
    t.is(lines[1]?.type, reasons.length > 0 ? 'error' : undefined)
    t.is(lines[1]?.exit, reasons.length > 0 ? status : undefined)
  }
})

for (const [verb, ...more] of [['plan'], ['move', '--detach']]) {
  test(`${verb} warns of an NBD source, and of no other`, async (t) => {
    const warnings = sourceWarnings('nbd://localhost/disk')
    t.is(warnings.length, 1)
    await using site = await openFakeSite({
      plan: async ({ source }) => ({ ...fakePlan, warnings: sourceWarnings(source) }),
    })
    const texts: string[] = []
    for (const source of ['nbd://localhost/disk', 'nbd+unix:///disk?socket=/run/nbd.sock', 'disk.raw']) {
      const { stdout, stderr } = await site.run([verb, source, 'beta:b', ...more])
      texts.push(stdout + stderr)
    }
    t.deepEqual(
      texts.map((text) => text.includes(warnings[0])),
      [true, true, false],
    )
  })
}

test('verify exits 6 when the ends differ, and carries the root when they do not', async (t) => {
  await using site = await openFakeSite({
    verify: async ({ job, deep }) => ({
      job,
      match: deep,
      sourceRoot: fakeComplete.root,
      targetRoot: deep ? fakeComplete.root : 'b3:00',
      deep,
      checkedBytes: 1,
      seconds: 1,
      reasons: [],
    }),
  })
  const differ = await site.run(['verify', 'job-1', '--json'])
  t.is(differ.exit, 6)
  t.like(differ.lines[0], { type: 'verify', job: 'job-1', match: false, root: null })
  t.like(differ.lines[1], { type: 'error', code: 'VERIFY_MISMATCH', exit: 6 })
  const same = await site.run(['verify', 'job-1', '--deep', '--json'])
  t.is(same.exit, 0)
  t.like(same.lines[0], { match: true, root: fakeComplete.root })
})

const types: readonly [argv: string, type: string, keys: string][] = [
  ['id', 'id', 'peerId,name,addrs,dataAddrs'],
  ['status', 'status', 'pid,peerId,peers,jobs,refused'],
  ['pair ticket', 'ticket', 'ticket,expiresAt'],
  ['pair fluid1a', 'paired', 'peer,name,grant,granted'],
  ['pair list', 'peer', 'peer,name,connected'],
  ['pair pending', 'pending', 'peer,name,direction,since'],
  ['policy set beta --max 1G', 'peer', 'peer,grant'],
  ['policy seed list', 'seed', 'folder,files,chunks,bytes,state'],
  ['plan a beta:b', 'plan', 'feasible,reasons,logicalBytes'],
  [
    'jobs',
    'job',
    'job,state,logicalBytes,doneBytes,wireBytes,dedupedBytes,zeroBytes,bytesPerSecond,etaSeconds,peer,destination,createdAt',
  ],
  ['cancel job-1', 'job', 'job,state'],
  ['receipt job-1', 'receipt', 'job,root,wireBytes,bytesByPath,senderSignature,receiverSignature'],
  ['bench beta', 'bench', 'peer,bytesPerSecond,roundTripMs'],
]

for (const [argv, type, keys] of types) {
  test(`${argv} --json prints ${type} lines`, async (t) => {
    await using site = await openFakeSite()
    const { lines } = await site.run([...argv.split(' '), '--json'])
    t.like(lines[0], { v: 1, type })
    for (const key of keys.split(',')) t.true(Object.hasOwn(lines[0], key), key)
  })
}

test('ticket lines have the fields of the contract and no others', async (t) => {
  await using site = await openFakeSite()
  const { lines } = await site.run(['pair', 'ticket', '--json'])
  t.deepEqual(lines, [{ v: 1, type: 'ticket', ticket: 'fluid1qqqq', expiresAt: '2026-11-22T11:00:00.000Z' }])
})

test('pair ticket prints the ticket alone on standard output', async (t) => {
  await using site = await openFakeSite()
  const { stdout } = await site.run(['pair', 'ticket'])
  t.is(stdout, 'fluid1qqqq\n')
})

test('runCli() prints nothing a peer wrote that could move the cursor', async (t) => {
  await using site = await openFakeSite({
    pairList: async () => [
      { peer: 'p', name: 'be\x1b[2Jta\r\n\x9b1A\u202e', pairedAt: '', connected: false, addrs: [] },
    ],
    receipt: failing('JOB_UNKNOWN', 'No \x1b]0;title\x07job'),
  })
  const { stdout } = await site.run(['pair', 'list'])
  const { stderr } = await site.run(['receipt', 'x'])
  t.notRegex(stdout + stderr, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/u)
})

test('main exits with the status of its verb, and colours nothing in a pipe', async (t) => {
  await using site = await openFakeSite()
  const child = spawn(process.execPath, [MAIN, 'status', '--home', site.home.path], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [text, [status]] = await Promise.all([
    new Response(child.stdout as never).text(),
    once(child, 'exit'),
  ])
  t.is(status, 0)
  t.regex(text, /alpha runs/)
  t.notRegex(text, /\x1b/)
})

test('main ends silently when its reader is gone', async (t) => {
  await using site = await openFakeSite({
    pairList: async () =>
      Array.from({ length: 2000 }, (_, index) => ({
        peer: `p${index}`,
        name: 'n'.repeat(200),
        pairedAt: '',
        connected: false,
        addrs: [],
      })),
  })
  const child = spawn(process.execPath, [MAIN, 'pair', 'list', '--home', site.home.path], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.destroy()
  const [text, [status]] = await Promise.all([
    new Response(child.stderr as never).text(),
    once(child, 'exit'),
  ])
  t.is(text, '')
  t.is(status, 0)
})

test('main exits 1 and says so when what it prints cannot be written', async (t) => {
  await using site = await openFakeSite()
  await using full = await open('/dev/full', 'w')
  const child = spawn(process.execPath, [MAIN, 'jobs', '--json', '--home', site.home.path], {
    stdio: ['ignore', full.fd, 'pipe'],
  })
  const [text, [status]] = await Promise.all([
    new Response(child.stderr as never).text(),
    once(child, 'exit'),
  ])
  t.is(status, 1)
  t.regex(text, /^error: Writing to standard output failed\n(.*\n)*.*ENOSPC/)
})

test('doctor exits 1 for a problem, with a hint for it, and 0 without', async (t) => {
  await using site = await openFakeSite()
  const broken = await site.run(['doctor', '--json'])
  t.is(broken.exit, 1)
  const failed = broken.lines.filter(({ state }) => state === 'fail')
  t.deepEqual(
    failed.map(({ name }) => name),
    ['space /srv/images'],
  )
  for (const check of broken.lines) {
    t.like(check, { v: 1, type: 'check' })
    if (check.state !== 'ok') t.truthy(check.hint, String(check.name))
  }
  await mkdir(path.join(site.folder, 'images'))
  const { jobs, ...status } = await site.api.status()
  await using fixed = await openFakeSite({
    status: async () => ({
      ...status,
      jobs,
      peers: [
        {
          ...status.peers[0],
          grant: { folder: path.join(site.folder, 'images'), maxBytes: 0, approve: 'auto', targets: {} },
        },
      ],
    }),
  })
  const { exit, stdout } = await fixed.run(['doctor'])
  t.is(exit, 0, stdout)
})

test('doctor remarks that there is no config.toml', async (t) => {
  await using site = await openFakeSite()
  const said = async () => (await site.run(['doctor', '--json'])).lines.find(({ name }) => name === 'config')
  t.like(await said(), { state: 'ok' })
  await rm(site.home.config)
  const check = await said()
  t.like(check, { state: 'warn' })
  t.regex(String(check?.detail), /there is no .*config\.toml/)
})

test('doctor finds what is wrong without an agent', async (t) => {
  await using folder = await openTempFolder()
  const home = path.join(folder.path, 'home')
  const { exit, lines } = await runIn(folder.path, home, ['doctor', '--json'])
  t.is(exit, 1)
  t.like(
    lines.find(({ name }) => name === 'home'),
    { state: 'fail', hint: 'Run fluidcloud init first' },
  )
  t.like(
    lines.find(({ name }) => name === 'agent'),
    { state: 'warn' },
  )
})
