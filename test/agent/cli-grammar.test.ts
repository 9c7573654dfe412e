import path from 'node:path'
import test from 'ava'
import { FAKE_PEER_ID } from '../helpers/fake-agent.ts'
import { openFakeSite } from '../helpers/command-line.ts'
import { createProgram } from '../../agent/cli.ts'
import { partsFor, VERB_PARTS } from '../../agent/verbs.ts'

const GiB = 1024 ** 3

/** argv -> the one call the agent must see. FOLDER stands for the working folder. */
const matrix: readonly [argv: string, call: string, args?: Record<string, unknown>][] = [
  ['id', 'id'],
  ['status', 'status'],
  ['pair ticket', 'pairTicket', { expiresMs: 3_600_000, uses: 1, approve: 'auto' }],
  [
    'pair ticket --expires 2d --uses 5 --into images --max 10GiB --approve ask',
    'pairTicket',
    { expiresMs: 2 * 86_400_000, uses: 5, folder: 'FOLDER/images', maxBytes: 10 * GiB, approve: 'ask' },
  ],
  ['pair fluid1abc --as geneva', 'pairRedeem', { ticket: 'fluid1abc', name: 'geneva' }],
  [`pair ${FAKE_PEER_ID}`, 'pairRequest', { peer: FAKE_PEER_ID }],
  [
    `pair /dns4/a.example/tcp/4001/p2p/${FAKE_PEER_ID}`,
    'pairRequest',
    { peer: `/dns4/a.example/tcp/4001/p2p/${FAKE_PEER_ID}` },
  ],
  ['pair list', 'pairList'],
  ['pair pending', 'pairPending'],
  ['pair accept gamma', 'pairAccept', { peer: 'gamma' }],
  ['pair accept gamma --as zurich', 'pairAccept', { peer: 'gamma', name: 'zurich' }],
  ['pair reject gamma', 'pairReject', { peer: 'gamma' }],
  ['pair rm beta', 'pairRemove', { peer: 'beta' }],
  ['policy show', 'policyShow', {}],
  ['policy show beta', 'policyShow', { peer: 'beta' }],
  [
    'policy set beta --into images --max 2TiB --approve ask',
    'policySet',
    { peer: 'beta', folder: 'FOLDER/images', maxBytes: 2048 * GiB, approve: 'ask' },
  ],
  [
    'policy set beta --target db=/dev/vg0/db --target old= --target n=nbd://h/e --target r=dev/x',
    'policySet',
    { peer: 'beta', targets: { db: '/dev/vg0/db', old: '', n: 'nbd://h/e', r: 'FOLDER/dev/x' } },
  ],
  ['policy set beta --deny', 'policySet', { peer: 'beta', deny: true }],
  [
    'policy set beta --relocate qemu --max-vcpus 4 --max-memory 8GiB --max-machines 2 --networks user,br0 --migrators all --forwards any',
    'policySet',
    {
      peer: 'beta',
      relocate: 'qemu',
      maxVcpus: 4,
      maxMemoryBytes: 8 * 2 ** 30,
      maxMachines: 2,
      networks: ['user', 'br0'],
      migrators: ['all'],
      forwards: 'any',
    },
  ],
  ['policy set beta --relocate none', 'policySet', { peer: 'beta', relocate: 'none' }],
  ['policy arrivals', 'arrivals', {}],
  ['policy approve 6f1c', 'arrivalApprove', { relocation: '6f1c' }],
  ['policy reject 6f1c', 'arrivalReject', { relocation: '6f1c' }],
  ['policy seed add images', 'seedAdd', { folder: 'FOLDER/images' }],
  ['policy seed rm /srv/images', 'seedRemove', { folder: '/srv/images' }],
  ['policy seed list', 'seedList'],
  [
    'plan disk.raw beta:disk.raw',
    'plan',
    { source: 'FOLDER/disk.raw', peer: 'beta', destination: 'disk.raw' },
  ],
  [
    'move disk.raw beta:disk.raw --detach',
    'move',
    { source: 'FOLDER/disk.raw', peer: 'beta', destination: 'disk.raw' },
  ],
  ['move --dry-run /d beta:a/b.raw', 'plan', { source: '/d', peer: 'beta', destination: 'a/b.raw' }],
  [
    `move /d ${FAKE_PEER_ID}:2026-11-22T10:00.raw --streams 8 --bwlimit 1Gbit/s --verify deep --replace --format qcow2 --compress off --detach`,
    'move',
    {
      source: '/d',
      peer: FAKE_PEER_ID,
      destination: '2026-11-22T10:00.raw',
      lanes: 8,
      bandwidth: 125_000_000,
      verifyDeep: true,
      replace: true,
      format: 'qcow2',
      compression: 'off',
    },
  ],
  [
    'move /d beta:d --overwrite --detach',
    'move',
    { source: '/d', peer: 'beta', destination: 'd', replace: true },
  ],
  [
    'move nbd://host:10809/disk beta:d --detach',
    'move',
    { source: 'nbd://host:10809/disk', peer: 'beta', destination: 'd' },
  ],
  [
    'move nbd+unix:///disk?socket=run/nbd.sock beta:d --detach',
    'move',
    { source: 'nbd+unix:///disk?socket=FOLDER/run/nbd.sock', peer: 'beta', destination: 'd' },
  ],
  ['jobs', 'jobs'],
  ['watch', 'watch', {}],
  ['watch job-1', 'watch', { job: 'job-1' }],
  ['pause job-1', 'pause', { job: 'job-1' }],
  ['resume job-1', 'resume', { job: 'job-1' }],
  ['cancel job-1', 'cancel', { job: 'job-1' }],
  ['verify job-1', 'verify', { job: 'job-1', deep: false }],
  ['verify job-1 --deep', 'verify', { job: 'job-1', deep: true }],
  ['receipt job-1', 'receipt', { job: 'job-1' }],
  ['bench beta', 'bench', { peer: 'beta', bytes: 256 * 1024 ** 2 }],
  ['bench beta --size 1GiB --streams 2', 'bench', { peer: 'beta', bytes: GiB, lanes: 2 }],
]

for (const [argv, call, args = {}] of matrix) {
  test(`runCli() turns '${argv.replaceAll(FAKE_PEER_ID, 'PEER_ID')}' into ${call}`, async (t) => {
    await using site = await openFakeSite()
    const { exit, stderr } = await site.run(argv.split(' '))
    t.is(exit, 0, stderr)
    const expected = JSON.parse(JSON.stringify(args).replaceAll('FOLDER', site.folder))
    // `jobs` and `watch` ask for relocations too.
    const calls = site.calls.filter(([name]) => name !== 'relocations' && name !== 'relocationWatch')
    t.deepEqual(calls, [[call, expected]])
  })
}

test('runCli() reads a ticket from standard input', async (t) => {
  await using site = await openFakeSite()
  const { exit } = await site.run(['pair', '--ticket-stdin', '--as', 'geneva'], {
    stdin: '  fluid1secret\nmore\n',
  })
  t.is(exit, 0)
  t.deepEqual(site.calls, [['pairRedeem', { ticket: 'fluid1secret', name: 'geneva' }]])
})

const misuse: readonly [argv: string, message: RegExp, hint: RegExp][] = [
  ['mvoe a b:c', /Unknown command 'mvoe'/, /move/],
  ['jobs --jsno', /Unknown option '--jsno'/, /--json/],
  ['pair lsit', /neither a ticket/, /pair list/],
  ['pair', /needs a ticket/, /--help/],
  ['pair fluid1a --ticket-stdin', /takes the place/, /--help/],
  ['pair --ticket-stdin', /No ticket came/, /--help/],
  ['move disk.raw', /Missing required argument/, /^See fluidcloud move --help$/],
  ['move a b:c --streams 0', /--streams: '0' is not a whole number/, /^See fluidcloud move --help$/],
  ['pair ticket --folder x', /Unknown option '--folder'/, /^See fluidcloud pair ticket --help$/],
  ['--home x --folder y', /Unknown option '--folder'/, /^See fluidcloud --help$/],
  ['--home pair move', /Missing required argument/, /^See fluidcloud move --help$/],
  ['move disk.raw nowhere', /names a peer but no destination/, /PEER:NAME/],
  ['move disk.raw a/b', /is not PEER:DST/, /PEER:NAME/],
  ['move disk.raw :x', /not a peer's name/, /pair list/],
  ['move disk.raw b:x --streams 0', /--streams/, /--help/],
  ['move disk.raw b:x --streams 65', /from 1 to 64/, /--help/],
  ['move disk.raw b:x --bwlimit fast', /--bwlimit: 'fast' is not a rate/, /MiB/],
  ['move disk.raw b:x --verify shallow', /Allowed choices are deep/, /--help/],
  ['move disk.raw b:x --format vmdk', /Allowed choices are raw, qcow2/, /--help/],
  ['pair ticket --expires 5', /--expires: '5' is not a duration/, /1h30m/],
  ['pair ticket --max lots', /--max: 'lots' is not a size/, /10GiB/],
  ['policy set beta', /what to change/, /--help/],
  ['policy set beta --deny --max 1G', /no other option/, /--help/],
  ['policy set beta --target x', /not NAME=DEVICE/, /--target/],
  ['completion tcsh', /Allowed choices/, /--help/],
  ['jobs extra', /[Tt]oo many arguments/, /--help/],
  ['init --name a/b', /cannot be the name/, /Letters/],
]

for (const [argv, message, hint] of misuse) {
  test(`runCli() refuses '${argv}' with what to do instead`, async (t) => {
    await using site = await openFakeSite()
    const { exit, lines } = await site.run(['--json', ...argv.split(' ')])
    const [error] = lines
    t.is(exit, error.code === 'NAME_INVALID' ? 4 : 2)
    t.like(error, { v: 1, type: 'error', retryable: false, exit })
    t.regex(String(error.message), message)
    t.regex(String(error.hint), hint)
    t.deepEqual(site.calls, [])
  })
}

for (const destination of ['beta:/etc/passwd', 'beta:../x', 'beta:a/../../x', 'beta:']) {
  test(`runCli() refuses the destination ${destination} as NAME_INVALID`, async (t) => {
    await using site = await openFakeSite()
    const { exit, lines } = await site.run(['move', 'd', destination, '--json'])
    t.is(exit, 4)
    t.is(lines[0].code, 'NAME_INVALID')
    t.deepEqual(site.calls, [])
  })
}

test('runCli() takes global options before and after the verb', async (t) => {
  await using site = await openFakeSite()
  const before = await site.run(['--home', 'home', '--json', 'jobs'], {
    env: { FLUIDCLOUD_HOME: '/nonexistent' },
  })
  const after = await site.run(['jobs', '--home', 'home', '--json'], {
    env: { FLUIDCLOUD_HOME: '/nonexistent' },
  })
  t.is(before.exit, 0)
  t.deepEqual(before, after)
})

test('runCli() without a verb shows help and exits 2', async (t) => {
  await using site = await openFakeSite()
  const { exit, stderr, stdout } = await site.run([])
  t.is(exit, 2)
  t.is(stdout, '')
  t.regex(stderr, /Usage: fluidcloud/)
})

test('runCli() prints its version', async (t) => {
  await using site = await openFakeSite()
  const { exit, stdout } = await site.run(['--version'])
  t.is(exit, 0)
  t.regex(stdout, /^\d+\.\d+\.\d+\n$/)
})

const verbs = [
  'init,id,agent,status,pair,pair ticket,pair list,pair pending,pair accept,pair reject,pair rm,policy,policy show,policy set',
  'policy seed,policy seed add,policy seed rm,policy seed list,plan,move,jobs,watch,pause,resume,cancel,verify,receipt',
  'doctor,bench,completion,demo',
].flatMap((line) => line.split(','))

for (const verb of verbs) {
  test(`runCli() has help with a purpose and examples for '${verb}'`, async (t) => {
    await using site = await openFakeSite()
    const { exit, stdout } = await site.run([...verb.split(' '), '--help'])
    t.is(exit, 0)
    t.regex(stdout, new RegExp(`^Usage: fluidcloud ${verb}`))
    t.regex(stdout, /\n\n[A-Z][^\n]{10,78}\.\n/)
    t.regex(stdout, /\nExamples:\n( {2}\$ [^\n]+\n){1,3}/)
  })
}

test('runCli() makes relative homes absolute against the working folder', async (t) => {
  await using site = await openFakeSite()
  const { lines } = await site.run(['init', '--home', 'other', '--name', 'gamma', '--json'])
  t.like(lines[0], { type: 'id', name: 'gamma', home: path.join(site.folder, 'other') })
})

/** Its actions are never run here, so it needs no terminal to write to. */
const runtime = { terminal: { stdout: {}, stderr: {}, env: {} }, exit: 0 } as never

test('VERB_PARTS names the verbs that each part adds', async (t) => {
  for (const part of VERB_PARTS) {
    const { commands } = await createProgram(runtime, [part])
    const names = commands.map((command) => command.name())
    if (part.verbs.length > 0) t.deepEqual(names, [...part.verbs])
    for (const command of commands) t.is(command.helpGroup(), part.group)
  }
})

test('partsFor() gives a verb its own part, and all where help, completion or nobody knows', (t) => {
  const move = VERB_PARTS.filter(({ verbs }) => verbs.includes('move'))
  for (const line of ['move a b:c', '--json move a b:c', '--home /x --quiet move', '--home=/x plan a b:c'])
    t.deepEqual(partsFor(line.split(' ')), move, line)
  for (const line of ['', '--help', '--home move', 'help move', 'completion bash', 'mvoe', '-V', '-- move'])
    t.is(partsFor(line.split(' ')), VERB_PARTS, line)
})
