import { execFileSync } from 'node:child_process'
import { chmod, cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import type { FileChange } from '../../../transfer/guest-files.ts'
import type { MigratorContext } from '../../../transfer/migrator.ts'
import { previewChanges } from '../../../transfer/migrators/apply.ts'
import { type GuestContent, memoryGuest } from '../../../transfer/migrators/memory-guest.ts'
import { resolveMigrator } from '../../../transfer/migrators/registry.ts'
import { refusedWith } from '../../helpers/refused-with.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const EXAMPLES = fileURLToPath(new URL('../../../deploy/examples/', import.meta.url))
const context: MigratorContext = { signal: new AbortController().signal, machine: { name: 'web', macs: [] } }
const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString()
const has = (command: string) => {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`])
    return true
  } catch {
    return false
  }
}

async function preview(
  allowed: Parameters<typeof resolveMigrator>[2],
  name: string,
  input: unknown,
  contents: Record<string, GuestContent>,
): Promise<FileChange[]> {
  const migrator = await resolveMigrator(name, '1.0.0', allowed)
  return previewChanges(memoryGuest(contents), [{ migrator, input }], context)
}

const python = has('python3') ? test : test.skip
const withPython = has('python3') ? '' : ' (needs python3)'

python(`the example in Python sets a proxy${withPython}`, async (t) => {
  const allowed = { folder: join(EXAMPLES, 'migrator-python'), allow: ['proxy@1'] }
  const url = 'http://proxy.example:3128'
  const contents = { '/etc/environment': 'PATH="/bin"\nhttp_proxy=old\nA=1', '/etc/apt/apt.conf.d/01x': '' }
  const changes = await preview(allowed, 'proxy', { url }, contents)
  t.deepEqual(
    changes.map(({ path, after }) => [path, text(after)]),
    [
      ['/etc/environment', `PATH="/bin"\nA=1\nhttp_proxy=${url}\nhttps_proxy=${url}\n`],
      ['/etc/apt/apt.conf.d/95fluidcloud-proxy', `Acquire::http::Proxy "${url}";\n`],
    ],
  )
  await refusedWith(t, 'USAGE', preview(allowed, 'proxy', { url: 'x' }, contents))
  await refusedWith(t, 'GUEST_UNSUPPORTED', preview(allowed, 'proxy', { url }, { '/etc/x': '' }))
})

/** The folder with the example package in it, as npm install leaves it. */
async function packageFolder(t: ExecutionContext): Promise<string> {
  const folder = await tempDir(t)
  await cp(join(EXAMPLES, 'migrator-package'), join(folder, 'node_modules/fluidcloud-migrator-motd'), {
    recursive: true,
  })
  return folder
}

test('the example as an npm package writes the message of the day', async (t) => {
  const allowed = { folder: await packageFolder(t), allow: ['motd@1'] }
  const [change] = await preview(allowed, 'motd', { text: 'in Zurich' }, { '/etc/motd': 'Hello\n' })
  t.is(text(change.after), 'Hello\nweb: in Zurich\n')
  await refusedWith(t, 'USAGE', preview(allowed, 'motd', {}, { '/etc/motd': '' }))
})

const PACKAGES: Readonly<Record<string, [code: string, words: RegExp]>> = {
  'reads files of ours': [`(await import('node:fs')).readFileSync('/etc/passwd')`, /failed: .*restricted/i],
  'starts programs': [`(await import('node:child_process')).execFileSync('id')`, /failed: .*restricted/i],
  'writes files of ours': [`(await import('node:fs')).writeFileSync('x', 'x')`, /failed: .*restricted/i],
  'ends the process': ['process.exit(0)', /ended with status 0 before it was done$/],
  'throws what it does not catch': [
    `setImmediate(() => { throw new Error('x') }); await new Promise(() => {})`,
    /ended with status 1 before/,
  ],
  'prints to standard output': [`process.stdout.write('hello\\n')`, /said something that is no JSON object/],
  'never ends': ['for (;;);', /did not end within 3000 ms$/],
}
for (const [what, [code, words]] of Object.entries(PACKAGES)) {
  test(`a package that ${what} is contained`, async (t) => {
    const folder = await packageFolder(t)
    const module = `export default { name: 'motd', version: '1.0.0', accepts: ['guest/linux'], produces: ['guest/linux'], files: ['/etc/motd'], check() {}, async changes() { console.log('for the log'); ${code}; return [] } }`
    await writeFile(join(folder, 'node_modules/fluidcloud-migrator-motd/index.js'), module)
    const log: string[] = []
    const allowed = { folder, allow: ['motd@1'], log: (_: string, said: string) => void log.push(said) }
    // Long enough for a Node to start under load; what never ends alone waits for it.
    const deadlineMs = what === 'never ends' ? 3_000 : 60_000
    const failing = (async () => {
      const migrator = await resolveMigrator('motd', '1', { ...allowed, deadlineMs })
      return previewChanges(memoryGuest(), [{ migrator, input: {} }], context)
    })()
    const error = await refusedWith(t, 'MIGRATOR_FAILED', failing)
    // Where the start alone takes so long, that is what is said.
    t.regex(error.message, words)
  })
}

const HELLO = `echo '{"type":"hello","protocol":1,"name":"bad","version":"1.0.0","accepts":["guest/linux"],"produces":["guest/linux"],"files":["/etc/a","/etc/d/"]}'`
const after = (more: string) => `read hello; ${HELLO}; read changes; ${more}`
const changes = (...each: object[]) => after(`echo '${JSON.stringify({ type: 'changes', changes: each })}'`)
const content = Buffer.from('new').toString('base64')

/** What a shell script does after it was started, and what is said of it. */
const BAD: Readonly<Record<string, [script: string, words: RegExp, deadlineMs?: number]>> = {
  'hangs at once': ['sleep 1000', /did not end within 500 ms$/, 500],
  'hangs with children': ['sleep 1000 & sleep 1000', /did not end within 500 ms$/, 500],
  'ends at once': ['exit 0', /ended with status 0 before it was done$/],
  'fails at once': ['echo oh no >&2; exit 3', /ended with status 3 before it was done$/],
  'is killed': [after('kill -SEGV $$'), /was ended by SIGSEGV before it was done$/],
  'floods standard output with one line': [
    after('exec tr "\\0" a </dev/zero'),
    /said a line of more than \d+ bytes$/,
  ],
  'floods standard output with lines': [
    after(`exec 3<&0; cat <&3 >/dev/null & yes '{"type":"entry","id":1,"path":"/etc/a"}'`),
    /asks for more than 4096 files$/,
  ],
  'asks and does not listen': [
    after(`yes '{"type":"entry","id":1,"path":"/etc/a"}'`),
    /asks for more than 4096 files$|did not end within 3000 ms$/,
    3_000,
  ],
  'floods standard error': [after('yes >&2 & sleep 1; exit 4'), /ended with status 4 before it was done$/],
  'says what is no JSON': ['read hello; echo hello', /said something that is no JSON object/],
  'speaks another protocol': [
    'read hello; echo \'{"type":"hello","protocol":2}\'',
    /does not speak protocol 1$/,
  ],
  'says what means nothing': [after('echo \'{"type":"please"}\''), /said "please", which means nothing$/],
  'has another name': [`read hello; ${HELLO.replace('bad', 'good')}`, /says that it is good@1.0.0$/],
  'says that it failed': [after('echo \'{"type":"failed","message":"no luck"}\''), /failed: no luck$/],
  'reads what it did not declare': [
    after('echo \'{"type":"read","id":1,"path":"/etc/shadow"}\'; read x'),
    /asks for \/etc\/shadow, which is not among/,
  ],
  'reads a path that leads up': [
    after('echo \'{"type":"read","id":1,"path":"/etc/d/../shadow"}\'; read x'),
    /which is no path in a guest$/,
  ],
  'changes a relative path': [changes({ path: 'etc/a', after: content }), /which is no path in a guest$/],
  'changes a path that leads up': [
    changes({ path: '/etc/d/../../x', after: content }),
    /which is no path in a guest$/,
  ],
  'changes what it did not declare': [
    changes({ path: '/etc/shadow', after: content }),
    /changes \/etc\/shadow, which is not among/,
  ],
  'changes a path twice': [
    changes({ path: '/etc/d/x', after: content }, { path: '/etc/d/x', after: content }),
    /changes \/etc\/d\/x twice$/,
  ],
  'says what was not there': [
    changes({ path: '/etc/a', before: content, after: content }),
    /says of \/etc\/a what is not there$/,
  ],
  'gives content that is no base64': [
    changes({ path: '/etc/d/x', after: '%%%' }),
    /content that is not base64$/,
  ],
  'gives a mode that cannot be': [
    changes({ path: '/etc/d/x', after: content, mode: -1 }),
    /with the mode -1$/,
  ],
  'gives no list': [after('echo \'{"type":"changes"}\''), /gave no list of changes$/],
  'gives too large a file': [
    after(
      'printf \'{"type":"changes","changes":[{"path":"/etc/d/x","after":"\'; head -c 1400000 /dev/zero | tr "\\0" A; echo \'AA=="}]}\'',
    ),
    /gave a file of more than 1048576 bytes$/,
  ],
}
for (const [what, [script, words, deadlineMs = 60_000]] of Object.entries(BAD)) {
  test(`a program that ${what} is contained`, async (t) => {
    const folder = await tempDir(t)
    await writeFile(join(folder, 'bad'), `#!/bin/sh\n${script}\n`)
    await chmod(join(folder, 'bad'), 0o755)
    const log: string[] = []
    const allowed = {
      folder,
      allow: ['bad@1'],
      deadlineMs,
      log: (_: string, said: string) => void log.push(said),
    }
    const error = await refusedWith(t, 'MIGRATOR_FAILED', preview(allowed, 'bad', {}, { '/etc/a': 'old' }))
    t.regex(error.message, words)
    t.true(log.join('').length <= 2 * 16 * 1024)
    if (what === 'fails at once') t.is(log.join(''), 'oh no\n')
  })
}

test('a program sees no environment, and an empty folder', async (t) => {
  const folder = await tempDir(t)
  const script = after(
    `echo "{\\"type\\":\\"failed\\",\\"message\\":\\"$(env | cut -d= -f1 | sort | tr '\\n' ' ') $(ls -A | wc -l)\\"}"`,
  )
  await writeFile(join(folder, 'bad'), `#!/bin/sh\n${script}\n`)
  await chmod(join(folder, 'bad'), 0o755)
  const failing = preview({ folder, allow: ['bad@1'] }, 'bad', {}, {})
  t.regex((await refusedWith(t, 'MIGRATOR_FAILED', failing)).message, /failed: (?:LANG|PATH|PWD|_| )+0$/)
})

test('resolveMigrator() runs nothing that the operator did not allow', async (t) => {
  const folder = await tempDir(t)
  await mkdir(join(folder, 'sub'))
  const marker = join(folder, 'ran')
  await writeFile(join(folder, 'bad'), `#!/bin/sh\ntouch ${marker}\n`)
  await chmod(join(folder, 'bad'), 0o755)
  for (const [name, allow] of [
    ['bad', []],
    ['bad', ['bad@2']],
    ['bad', ['other@1']],
    ['../bad', ['bad@1']],
  ] as const)
    await refusedWith(t, 'POLICY_DENIED', resolveMigrator(name, '1.0.0', { folder, allow }))
  await refusedWith(t, 'POLICY_DENIED', resolveMigrator('bad', '1.0.0', { allow: ['bad@1'] }))
  await refusedWith(t, 'MIGRATOR_FAILED', resolveMigrator('gone', '1.0.0', { folder, allow: ['gone@1'] }))
  await t.throwsAsync(cp(marker, join(folder, 'copy')), { code: 'ENOENT' })
})
