import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, connect } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import test from 'ava'
import { homeAt, initHome, openHome, resolveHome } from '../../agent/home.ts'
import { socketPath } from '../../agent/control/socket-path.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { refusedWith } from '../helpers/refused-with.ts'

test('resolveHome() prefers the flag, then FLUIDCLOUD_HOME, then XDG, then ~/.local/state', (t) => {
  const env = { FLUIDCLOUD_HOME: '/e', XDG_STATE_HOME: '/x', HOME: '/h' }
  t.is(resolveHome({ home: '/f', env }), '/f')
  t.is(resolveHome({ env }), '/e')
  t.is(resolveHome({ env: { ...env, FLUIDCLOUD_HOME: '' } }), '/x/fluidcloud')
  t.is(resolveHome({ env: { HOME: '/h', XDG_STATE_HOME: 'relative' } }), '/h/.local/state/fluidcloud')
})

test('initHome() makes everything private, and openHome() finds it', async (t) => {
  const home = await initHome(join(await tempDir(t), 'a', 'home'), { name: 'alpha' })
  t.deepEqual(await openHome(home.path), home)
  const mode = async (path: string) => (await stat(path)).mode & 0o777
  t.deepEqual(
    await Promise.all([home.path, home.imports, home.identityKey, home.config].map(mode)),
    [0o700, 0o700, 0o600, 0o600],
  )
  t.regex(await readFile(home.config, 'utf8'), /^name = "alpha"$/m)
})

test('initHome() says where no home can be, and does not try for ever', async (t) => {
  const file = join(await tempDir(t), 'file')
  await writeFile(file, '')
  for (const path of ['/proc/nope', '/proc/nope/deeper', file, join(file, 'home')])
    await refusedWith(t, 'CONFIG_INVALID', initHome(path, { name: 'alpha' }))
})

test('initHome() never replaces an identity, even when two run at once', async (t) => {
  const path = join(await tempDir(t), 'home')
  const outcomes = await Promise.allSettled([initHome(path, { name: 'a' }), initHome(path, { name: 'b' })])
  t.is(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
  const key = await readFile(homeAt(path).identityKey)
  await refusedWith(t, 'ALREADY_INITIALISED', initHome(path, { name: 'c' }))
  t.deepEqual(await readFile(homeAt(path).identityKey), key)
})

test('initHome() leaves an existing configuration and the mode of a folder in use alone', async (t) => {
  const path = await tempDir(t)
  await chmod(path, 0o755)
  await writeFile(join(path, 'config.toml'), 'mdns = false\n')
  await initHome(path, { name: 'a' })
  t.is(await readFile(join(path, 'config.toml'), 'utf8'), 'mdns = false\n')
  t.is((await stat(path)).mode & 0o777, 0o755)
})

test('openHome() refuses a folder without identity, a key others can read, a folder others can write', async (t) => {
  const path = await tempDir(t)
  await refusedWith(t, 'NOT_INITIALISED', openHome(path))
  const home = await initHome(path, { name: 'a' })
  await chmod(home.identityKey, 0o640)
  await refusedWith(t, 'CONFIG_INVALID', openHome(path))
  await chmod(home.identityKey, 0o600)
  await chmod(path, 0o770)
  await refusedWith(t, 'CONFIG_INVALID', openHome(path))
})

for (const deep of [false, true]) {
  test(`socketPath() serves and reaches a home of ${deep ? 'more' : 'less'} than 107 bytes`, async (t) => {
    const path = join(await tempDir(t), ...(deep ? ['d'.repeat(80), 'e'.repeat(80)] : []))
    await mkdir(path, { recursive: true })
    const home = homeAt(path)
    await using there = await socketPath(home)
    await using here = await socketPath(home)
    const server = createServer((socket) => socket.end('hello')).listen(there.path)
    await once(server, 'listening')
    t.true((await stat(home.socket)).isSocket())
    const client = connect(here.path).setEncoding('utf8')
    t.is((await once(client, 'data'))[0], 'hello')
    server.close()
    await once(server, 'close')
    await t.throwsAsync(stat(home.socket), { code: 'ENOENT' })
    await there[Symbol.asyncDispose]()
    await rm(path, { recursive: true })
  })
}
