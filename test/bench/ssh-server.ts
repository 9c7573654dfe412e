/** An sshd of the benchmark's own on 127.0.0.1, with keys and configuration in a folder of its own. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const SSHD = '/usr/sbin/sshd'
const START_TIMEOUT_MS = 10_000

/** Dispose it to stop the server. */
export interface SshServer extends AsyncDisposable {
  readonly pid: number
  /** Options for ssh and scp, which name port, key and cipher. */
  readonly options: readonly string[]
}

/** Starts the server; clients use `cipher`. `folder` is the caller's to remove. */
export async function startSshServer(folder: string, cipher?: string): Promise<SshServer> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  // It refuses to start as root without this folder, which a service would have made.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
  const [hostKey, userKey, config] = ['host', 'user', 'sshd_config'].map((name) => join(folder, name))
  for (const key of [hostKey, userKey]) await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
  const authorized = join(folder, 'authorized_keys')
  await writeFile(authorized, await readFile(`${userKey}.pub`), { mode: 0o600 })
  const port = await freePort()
  await writeFile(
    config,
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
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
  const child = spawn(SSHD, ['-D', '-e', '-f', config], { stdio: ['ignore', 'ignore', 'pipe'] })
  const takeAlong = (): void => void child.kill('SIGKILL')
  process.once('exit', takeAlong)
  let log = ''
  child.stderr.on('data', (text: Buffer) => (log = (log + text.toString()).slice(-2000)))
  const ended = once(child, 'exit')
  const deadline = performance.now() + START_TIMEOUT_MS
  while (!(await answers(port))) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`sshd did not start: ${log}`)
    await sleep(20)
  }
  const settings = [
    ...(cipher === undefined ? [] : [`Ciphers=${cipher}`]),
    'Compression=no',
    'IdentitiesOnly=yes',
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    // At this level ssh tells at its end how many bytes it sent and received.
    'LogLevel=VERBOSE',
    `Port=${port}`,
  ]
  return {
    pid: child.pid!,
    options: ['-F', '/dev/null', '-i', userKey, ...settings.flatMap((setting) => ['-o', setting])],
    async [Symbol.asyncDispose]() {
      process.off('exit', takeAlong)
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** Bytes both ways that ssh told of in what it wrote to standard error; undefined when it told nothing. */
export function sshWireBytes(stderr: string): number | undefined {
  const told = [...stderr.matchAll(/Transferred: sent (\d+), received (\d+) bytes/g)]
  return told.length > 0
    ? told.reduce((sum, [, sent, received]) => sum + Number(sent) + Number(received), 0)
    : undefined
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
