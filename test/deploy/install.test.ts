import { execFile, spawnSync } from 'node:child_process'
import { cp, lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'

const run = promisify(execFile)
const checkout = join(import.meta.dirname, '..', '..')
const script = join(checkout, 'deploy', 'install.sh')

interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function install(...args: string[]): Promise<Outcome> {
  return run(script, args, { maxBuffer: 2 ** 24 }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: Outcome) => error,
  )
}

async function succeeds(t: ExecutionContext, ...args: string[]): Promise<void> {
  const { code, stderr } = await install(...args)
  t.is(code, 0, stderr)
}

async function makeRoot(t: ExecutionContext): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'fluidcloud-install-'))
  t.teardown(() => rm(root, { recursive: true }))
  return root
}

async function permissions(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o7777).toString(8)
}

/** Every path below `root` outside node_modules, sorted. */
async function tree(root: string): Promise<string[]> {
  const all = await readdir(root, { recursive: true })
  return all.filter((path) => !path.includes('node_modules/')).toSorted()
}

test('install.sh installs a program that runs, keeps what is configured when run again, and uninstalls', async (t) => {
  t.timeout(300_000, 'npm ci twice')
  const root = await makeRoot(t)
  const at = (path: string): string => join(root, path)
  const options = ['--root', root, '--prefix', '/opt/fc', '--import', '/srv/images']
  await succeeds(t, ...options)

  t.is(await permissions(at('var/lib/fluidcloud')), '700')
  t.is(await permissions(at('srv/images')), '750')
  t.is(await permissions(at('etc/fluidcloud/config.toml')), '640')
  t.is(await readlink(at('var/lib/fluidcloud/config.toml')), '/etc/fluidcloud/config.toml')
  t.is(await readlink(at('usr/local/bin/fluidcloud')), '/opt/fc/bin/fluidcloud')
  t.regex(
    await readFile(at('etc/systemd/system/fluidcloud-agent.service'), 'utf8'),
    /^ExecStart=\/opt\/fc\/bin\/fluidcloud agent$/m,
  )
  t.regex(
    await readFile(at('etc/systemd/system/fluidcloud-agent.service.d/import-srv-images.conf'), 'utf8'),
    /^ReadWritePaths=\/srv\/images$/m,
  )
  t.false((await readdir(at('opt/fc/node_modules'))).includes('ava'))
  const { stdout } = await run(at('opt/fc/bin/fluidcloud'), ['--help'])
  t.regex(stdout, /fluidcloud/)

  await writeFile(at('etc/fluidcloud/config.toml'), 'name = "mine"\n')
  await writeFile(at('var/lib/fluidcloud/identity.key'), 'key')
  await writeFile(at('etc/systemd/system/fluidcloud-agent.service.d/override.conf'), '[Service]\n')
  const before = await tree(root)
  await succeeds(t, ...options)
  t.deepEqual(await tree(root), [...before, 'etc/fluidcloud/config.toml.sample'].toSorted())
  t.is(await readFile(at('etc/fluidcloud/config.toml'), 'utf8'), 'name = "mine"\n')

  await succeeds(t, '--root', root, '--prefix', '/opt/fc', '--uninstall')
  await t.throwsAsync(lstat(at('opt/fc')), { code: 'ENOENT' })
  await t.throwsAsync(lstat(at('usr/local/bin/fluidcloud')), { code: 'ENOENT' })
  t.deepEqual(await readdir(at('etc/systemd/system')), ['fluidcloud-agent.service.d'])
  t.deepEqual(await readdir(at('etc/systemd/system/fluidcloud-agent.service.d')), ['override.conf'])
  t.is(await readFile(at('var/lib/fluidcloud/identity.key'), 'utf8'), 'key')

  await succeeds(t, '--root', root, '--prefix', '/opt/fc', '--uninstall', '--purge')
  await t.throwsAsync(lstat(at('var/lib/fluidcloud')), { code: 'ENOENT' })
  await t.throwsAsync(lstat(at('etc/fluidcloud')), { code: 'ENOENT' })
  t.true((await stat(at('srv/images'))).isDirectory())
})

test('install.sh keeps the installed program when packages cannot be had', async (t) => {
  const root = await makeRoot(t)
  const broken = join(root, 'checkout')
  await mkdir(join(broken, 'agent'), { recursive: true })
  await cp(join(checkout, 'deploy'), join(broken, 'deploy'), { recursive: true })
  await writeFile(join(broken, 'agent', 'main.ts'), '')
  // A lock file that does not fit: npm ci refuses it without asking the network.
  await writeFile(
    join(broken, 'package.json'),
    '{ "name": "fluidcloud", "dependencies": { "level": "10.0.0" } }',
  )
  await writeFile(join(broken, 'package-lock.json'), '{ "lockfileVersion": 3, "packages": {} }')
  const prefix = join(root, 'opt', 'fc')
  await mkdir(prefix, { recursive: true })
  await writeFile(join(prefix, 'package.json'), '{ "name": "fluidcloud" }')

  await t.throwsAsync(run(join(broken, 'deploy', 'install.sh'), ['--root', root, '--prefix', '/opt/fc']), {
    message: /npm ci/,
  })
  t.deepEqual(await readdir(join(root, 'opt')), ['fc'])
  t.deepEqual(await readdir(prefix), ['package.json'])
})

test('install.sh --dry-run names every change and makes none', async (t) => {
  const root = await makeRoot(t)
  const { code, stdout } = await install('--root', root, '--dry-run', '--import', '/srv/images')
  t.is(code, 0)
  t.regex(stdout, /would run: npm --prefix \S+ ci --omit=dev/)
  t.regex(stdout, /would write: \S+\/etc\/systemd\/system\/fluidcloud-agent\.service /)
  t.deepEqual(await readdir(root), [])
})

for (const [what, args] of Object.entries({
  'a system folder': ['--prefix', '/usr', '--dry-run'],
  "a folder in the agent's state": ['--prefix', '/var/lib/fluidcloud/program', '--dry-run'],
  'a relative path': ['--prefix', 'opt/fc', '--dry-run'],
  'a path with ..': ['--prefix', '/opt/fc/../../usr', '--dry-run'],
  'a path with a space': ['--import', '/srv/my images', '--dry-run'],
  'a path with a line break': ['--import', '/srv/a\nReadWritePaths=/', '--dry-run'],
  'an unknown option': ['--force'],
  '--purge without --uninstall': ['--purge'],
})) {
  test(`install.sh refuses ${what} with exit status 2`, async (t) => {
    const root = await makeRoot(t)
    const { code, stdout } = await install('--root', root, ...args)
    t.is(code, 2)
    t.notRegex(stdout, /would/)
    t.deepEqual(await readdir(root), [])
  })
}

test("install.sh refuses to replace or remove a folder that is not FluidCloud's", async (t) => {
  const root = await makeRoot(t)
  const theirs = join(root, 'opt', 'theirs')
  await mkdir(theirs, { recursive: true })
  await writeFile(join(theirs, 'file'), 'x')
  for (const more of [[], ['--uninstall']]) {
    t.like(await install('--root', root, '--prefix', '/opt/theirs', ...more), { code: 2 })
  }
  t.is(await readFile(join(theirs, 'file'), 'utf8'), 'x')
})

const hasShellcheck = spawnSync('shellcheck', ['--version']).status === 0
const withShellcheck = hasShellcheck ? test : test.skip
for (const path of ['deploy/install.sh', 'bin/fluidcloud', '.ci/run']) {
  withShellcheck(`${path} passes shellcheck${hasShellcheck ? '' : ' (not installed)'}`, async (t) => {
    await t.notThrowsAsync(run('shellcheck', [join(checkout, path)]))
  })
}
