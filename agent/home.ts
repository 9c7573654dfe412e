/**
 * The agent's home: where its key, configuration, state and socket live. Nothing outside it is ever written but what
 * grants open. Everything in it is for its owner alone.
 */
import { constants } from 'node:fs'
import { chmod, link, open, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { FluidError } from '../protocol/errors.ts'
import { makeFolder } from './make-folder.ts'

/** Absolute paths of everything in a home. */
export interface Home {
  readonly path: string
  readonly identityKey: string
  readonly config: string
  /** Where the socket is; it may be too long to bind: use socketPath(). */
  readonly socket: string
  /** The agent's `level`. */
  readonly state: string
  /** The mesh node's address book, a `level` of its own. */
  readonly peerstore: string
  /** The folder a grant opens unless it names another. */
  readonly imports: string
  readonly tmp: string
}

/** The flag, else FLUIDCLOUD_HOME, else the XDG state folder; absolute. */
export function resolveHome(options: { home?: string; env: NodeJS.ProcessEnv }): string {
  const { home, env } = options
  if (home) return resolve(home)
  if (env.FLUIDCLOUD_HOME) return resolve(env.FLUIDCLOUD_HOME)
  // The XDG specification has relative paths ignored.
  const xdg = env.XDG_STATE_HOME
  const state = xdg?.startsWith('/') ? xdg : join(env.HOME || homedir(), '.local', 'state')
  return join(state, 'fluidcloud')
}

/** Paths of a home; touches nothing. */
export function homeAt(path: string): Home {
  return {
    path,
    identityKey: join(path, 'identity.key'),
    config: join(path, 'config.toml'),
    socket: join(path, 'agent.sock'),
    state: join(path, 'state'),
    peerstore: join(path, 'peerstore'),
    imports: join(path, 'imports'),
    tmp: join(path, 'tmp'),
  }
}

/**
 * Creates the folder, the key and a commented configuration. The key comes last and by link(2), so that a home either
 * has a whole identity or none, and never gets a second one. Throws ALREADY_INITIALISED, CONFIG_INVALID.
 */
export async function initHome(path: string, options: { name: string }): Promise<Home> {
  const home = homeAt(resolve(path))
  try {
    await fill(home, options.name)
  } catch (cause) {
    if (cause instanceof FluidError) throw cause
    throw new FluidError(
      'CONFIG_INVALID',
      `There can be no home at ${home.path}: ${(cause as Error).message}`,
      { cause, hint: 'Name a folder that you may write to with --home or FLUIDCLOUD_HOME' },
    )
  }
  return home
}

async function fill(home: Home, name: string): Promise<void> {
  // Every command knows where homes are, and hardly any makes one.
  const [{ sampleConfig }, { createIdentityKey }] = await Promise.all([
    import('./config.ts'),
    import('./identity.ts'),
  ])
  await makeFolder(home.path)
  if (await exists(home.identityKey)) throw alreadyInitialised(home)
  if ((await readdir(home.path)).length === 0) await chmod(home.path, 0o700)
  await refuseWritableByOthers(home.path)
  for (const folder of [home.state, home.peerstore, home.imports, home.tmp]) await makeFolder(folder)
  await writeFile(home.config, sampleConfig(name), { flag: 'wx', mode: 0o600 }).catch(ignore('EEXIST'))
  await writeOnce(home.identityKey, await createIdentityKey())
}

/** Paths of an initialised home, after checking that its key is private. Throws NOT_INITIALISED, CONFIG_INVALID. */
export async function openHome(path: string): Promise<Home> {
  const home = homeAt(resolve(path))
  const key = await stat(home.identityKey).catch((cause) => {
    throw new FluidError('NOT_INITIALISED', `${home.path} holds no identity`, { cause })
  })
  if (!key.isFile()) throw new FluidError('NOT_INITIALISED', `${home.identityKey} is not a file`)
  if (key.mode & 0o077) {
    throw new FluidError(
      'CONFIG_INVALID',
      `${home.identityKey} can be read by others (mode ${octal(key.mode)})`,
      {
        hint: `Others may hold a copy of this key. If not: chmod 600 ${home.identityKey}`,
      },
    )
  }
  await refuseWritableByOthers(home.path)
  for (const folder of [home.imports, home.tmp]) await makeFolder(folder)
  return home
}

async function refuseWritableByOthers(path: string): Promise<void> {
  const { mode } = await stat(path)
  if (mode & 0o022) {
    throw new FluidError('CONFIG_INVALID', `${path} can be written by others (mode ${octal(mode)})`, {
      hint: `chmod 700 ${path}`,
    })
  }
}

async function writeOnce(path: string, bytes: Uint8Array): Promise<void> {
  // Loaded here, since every command opens a home, and few write into one: it takes 10 ms.
  const { randomUUID } = await import('node:crypto')
  const whole = `${path}.${randomUUID()}.tmp`
  try {
    await using file = await open(whole, 'wx', 0o600)
    await file.writeFile(bytes)
    await file.sync()
    await link(whole, path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    throw alreadyInitialised(homeAt(dirname(path)), cause)
  } finally {
    await rm(whole, { force: true })
  }
  await using folder = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
  await folder.sync()
}

function alreadyInitialised(home: Home, cause?: unknown): FluidError {
  return new FluidError('ALREADY_INITIALISED', `${home.path} already holds an identity`, { cause })
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, ignore('ENOENT', false))
}

function ignore<T = void>(code: string, value?: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code !== code) throw error
    return value as T
  }
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(3, '0')
}
