/** Backup programs as movers: a store in place of a target, and a restore from it. Slow, and thorough. */
import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Contender, Run, Task, Traits } from '../contender.ts'
import type { End } from '../line.ts'
import { measure } from '../meter.ts'
import { runToEnd } from '../processes.ts'
import { startSshServer } from './ssh-server.ts'

const PASSWORD = 'benchmark'
const TRAITS: Traits = { verified: true, encrypted: true, resumable: false }

/** A program at one end, with its environment. */
type Command = (program: string, ...args: string[]) => Promise<unknown>

interface Backup {
  readonly name: string
  readonly needs: readonly string[]
  readonly traits: Traits
  /** Makes the store; not measured. */
  prepare(at: Command, store: Store): Promise<unknown>
  /** From the sender into the store at the receiver. */
  save(at: Command, store: Store, source: string): Promise<unknown>
  /** From the store to a file; gives its path. */
  restore(at: Command, store: Store, source: string, folder: string): Promise<string>
}

interface Store {
  /** At the receiver. */
  readonly path: string
  readonly host: string
  /** `ssh` with all it needs, as one string. */
  readonly ssh: string
}

/** restic over SFTP. */
export const restic: Contender = backup({
  name: 'restic',
  needs: ['restic'],
  traits: TRAITS,
  prepare: (at, store) => at('restic', ...resticAt(store), 'init'),
  save: (at, store, source) => at('restic', ...resticAt(store), 'backup', '--no-cache', source),
  async restore(at, { path }, source, folder) {
    // It reads the store where it lies: no byte crosses the line a second time.
    await at('restic', '--no-cache', '-r', path, 'restore', 'latest', '--target', folder, '--sparse').catch(
      () =>
        // Before version 0.15 it made no holes.
        at('restic', '--no-cache', '-r', path, 'restore', 'latest', '--target', folder),
    )
    return join(folder, source)
  },
})

/** borg over ssh, with its server at the receiver. */
export const borg: Contender = backup({
  name: 'borg',
  needs: ['borg'],
  traits: TRAITS,
  prepare: (at, store) => at('borg', 'init', '--encryption=repokey-blake2', borgAt(store)),
  save: (at, store, source) =>
    at(
      'borg',
      'create',
      '--compression=zstd,1',
      '--files-cache=disabled',
      archiveIn(borgAt(store), source),
      source,
    ),
  async restore(at, { path }, source, folder) {
    const archive = archiveIn(path, source)
    await at('sh', '-c', 'cd "$1" && borg extract --sparse "$2"', 'sh', folder, archive)
    return join(folder, source)
  },
})

/** casync: a store of chunks made by the sender, copied by rsync+ssh, and read at the receiver. */
export const casync: Contender = backup({
  name: 'casync+rsync',
  needs: ['casync', 'rsync'],
  traits: TRAITS,
  prepare: async () => {},
  async save(at, { path, host, ssh }, source) {
    const local = `${path}-sender`
    await at('casync', 'make', `--store=${local}`, '--compression=zstd', `${local}.caibx`, source)
    await at('rsync', '-r', '-e', ssh, local, `${local}.caibx`, `${host}:${path}`)
  },
  async restore(at, { path }, _source, folder) {
    const [store, target] = [join(path, basename(`${path}-sender`)), join(folder, 'disk.raw')]
    await at('casync', 'extract', `--store=${store}`, `${store}.caibx`, target)
    return target
  },
})

function backup({ name, needs, traits, prepare, save, restore }: Backup): Contender {
  return {
    name,
    needs: [...needs, 'sshd', 'ssh-keygen'],
    traits,
    slow: true,
    async move({ source, held, folder, line }: Task): Promise<Run> {
      const [path, restored] = [join(folder, 'store'), join(folder, 'restored')]
      for (const made of [path, restored]) await mkdir(made)
      await using server = await startSshServer(line.receiver, join(folder, 'ssh'))
      const ssh = await wrapper(join(folder, 'ssh-command'), server.options)
      const store: Store = { path, host: line.receiver.address, ssh }
      const [sender, receiver] = [at(line.sender, folder, ssh), at(line.receiver, folder, ssh)]
      await prepare(sender, store)
      // The old version is in the store under its own name; one that is cut by content finds it all the same.
      if (held) await save(sender, store, held)
      const { figures, result } = await measure(line, async () => {
        await save(sender, store, source)
        return await restore(receiver, store, source, restored)
      })
      return { ...figures, target: result }
    },
  }
}

function at(end: End, folder: string, ssh: string): Command {
  const env = {
    HOME: folder,
    BORG_BASE_DIR: folder,
    BORG_PASSPHRASE: PASSWORD,
    BORG_RSH: ssh,
    BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
    RESTIC_PASSWORD: PASSWORD,
  }
  return (program, ...args) => runToEnd(end, program, args, { env, cwd: folder })
}

/** Programs that take ssh as one word with no blanks to be kept get a script. */
async function wrapper(path: string, options: readonly string[]): Promise<string> {
  const words = options.map((option) => `'${option}'`).join(' ')
  await writeFile(path, `#!/bin/sh\nexec ssh ${words} "$@"\n`, { mode: 0o755 })
  return path
}

function resticAt({ path, host, ssh }: Store): string[] {
  return ['-o', `sftp.command=${ssh} ${host} -s sftp`, '-r', `sftp:${host}:${path}`]
}

function archiveIn(repository: string, source: string): string {
  return `${repository}::${basename(source)}`
}

function borgAt({ path, host }: Store): string {
  return `ssh://${host}${path}`
}
