/** An sshd of the benchmark's own at the receiving end, with keys and configuration in a folder of its own. */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { End } from '../line.ts'
import { freePort } from '../../helpers/free-port.ts'
import { startServer, type Server } from '../processes.ts'
import { run } from '../../helpers/programs.ts'

const SSHD = '/usr/sbin/sshd'

/** Dispose it to stop the server. */
export interface SshServer extends Server {
  /** Options for ssh and scp, which name port, key and cipher. */
  readonly options: readonly string[]
}

/** Starts the server; clients use `cipher`, or what ssh chooses. `folder` is the caller's to remove. */
export async function startSshServer(end: End, folder: string, cipher?: string): Promise<SshServer> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  // It refuses to start as root without this folder, which a service would have made.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
  const [hostKey, userKey, config] = ['host', 'user', 'sshd_config'].map((name) => join(folder, name))
  for (const key of [hostKey, userKey]) await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
  const authorized = join(folder, 'authorized_keys')
  await writeFile(authorized, await readFile(`${userKey}.pub`), { mode: 0o600 })
  await chmod(userKey, 0o600)
  const port = await freePort()
  await writeFile(
    config,
    [
      `Port ${port}`,
      `ListenAddress ${end.address}`,
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${authorized}`,
      'PidFile none',
      'UsePAM no',
      'PasswordAuthentication no',
      'PermitRootLogin prohibit-password',
      'StrictModes no',
      'Subsystem sftp internal-sftp',
      '',
    ].join('\n'),
  )
  const server = await startServer(end, port, SSHD, ['-D', '-e', '-f', config])
  const settings = [
    ...(cipher === undefined ? [] : [`Ciphers=${cipher}`]),
    'Compression=no',
    'IdentitiesOnly=yes',
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
    `Port=${port}`,
  ]
  return {
    pid: server.pid,
    options: ['-F', '/dev/null', '-i', userKey, ...settings.flatMap((setting) => ['-o', setting])],
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
