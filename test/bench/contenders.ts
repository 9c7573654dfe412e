/** What is measured against what: our two agents, and rsync and scp over an sshd of the benchmark's own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startAgentProcess } from '../../agent/demo/agent-process.ts'
import { initHome } from '../../agent/home.ts'
import { cpuSeconds, peakRssBytes, reapedCpuSeconds, resetPeak, untilChildless, untilQuiet } from './cpu.ts'
import { sshWireBytes, startSshServer } from './ssh-server.ts'
import { run } from '../helpers/programs.ts'

const PROGRAM = fileURLToPath(new URL('../../agent/main.ts', import.meta.url))
const NAME = 'disk.raw'
const TICKET_EXPIRES_MS = 60_000
const BLOCK_BYTES = 512
const MAX_OUTPUT_BYTES = 64 * 2 ** 20

/** Of the result line of `move --json`. */
interface MoveResult {
  readonly wireBytes: number
  readonly seconds: number
}

/** One move. */
export interface Task {
  readonly source: string
  /** A version that the target holds under the same name before. */
  readonly held?: string
  /** New folder for homes and target; the caller removes it. */
  readonly folder: string
}

/** One run's figures. Processor time is of both ends together. */
export interface Figures {
  /** From the start of the command to its end. */
  readonly seconds: number
  /** Of them, those the job itself took; undefined when the contender does not tell. */
  readonly jobSeconds?: number
  readonly cpuSeconds: number
  /** Both directions; undefined when the contender does not tell. */
  readonly wireBytes?: number
  /** The larger of the two ends. */
  readonly peakRssBytes?: number
  /** What the target takes on its disk. */
  readonly targetBytes: number
}

export interface Contender {
  readonly name: string
  /** Programs it needs. */
  readonly needs: readonly string[]
  move(task: Task): Promise<Figures>
}

/** `fluidcloud move` between two agents, each in its own process, over loopback. */
export function fluidcloud(compress: 'auto' | 'on' | 'off'): Contender {
  return {
    name: compress === 'auto' ? 'fluidcloud' : `fluidcloud --compress ${compress}`,
    needs: [],
    async move({ source, held, folder }) {
      const signal = AbortSignal.timeout(3_600_000)
      const [senderHome, receiverHome] = ['sender', 'receiver'].map((name) => join(folder, name))
      for (const [home, name] of [
        [senderHome, 'sender'],
        [receiverHome, 'receiver'],
      ])
        await initHome(home, { name })
      await using sender = await startAgentProcess(senderHome, signal)
      await using receiver = await startAgentProcess(receiverHome, signal)
      const target = join(folder, 'target')
      const { ticket } = await receiver.api.pairTicket({
        expiresMs: TICKET_EXPIRES_MS,
        uses: 1,
        folder: target,
        approve: 'auto',
      })
      await sender.api.pairRedeem({ ticket, name: 'receiver' })
      const move = async (disk: string) => {
        const begun = performance.now()
        const command = ['--disable-warning=ExperimentalWarning', PROGRAM, '--home', senderHome, '--json']
        const options = ['move', disk, `receiver:${NAME}`, '--compress', compress, '--replace']
        const { stdout } = await run(process.execPath, [...command, ...options], {
          maxBuffer: MAX_OUTPUT_BYTES,
        })
        const seconds = (performance.now() - begun) / 1000
        return { seconds, result: JSON.parse(stdout.trim().split('\n').at(-1)!) as MoveResult }
      }
      if (held) await move(held)
      const pids = [sender.pid, receiver.pid]
      await untilQuiet(pids)
      for (const pid of pids) await resetPeak(pid)
      const [agentsBefore, childrenBefore] = await Promise.all([cpuSeconds(pids), reapedCpuSeconds('self')])
      const { seconds, result } = await move(source)
      await untilQuiet(pids)
      const [agents, children] = await Promise.all([cpuSeconds(pids), reapedCpuSeconds('self')])
      return {
        seconds,
        jobSeconds: result.seconds,
        // The command line itself is a child that ended.
        cpuSeconds: agents - agentsBefore + children - childrenBefore,
        wireBytes: result.wireBytes,
        peakRssBytes: Math.max(...(await Promise.all(pids.map(peakRssBytes)))),
        targetBytes: await allocatedBytes(join(target, NAME)),
      }
    },
  }
}

/** rsync over ssh, with the options of the case; without a cipher, with what ssh chooses. */
export function rsync(options: readonly string[], cipher?: string): Contender {
  return overSsh(cipher, ['rsync', ...options].join(' '), ['rsync', 'ssh'], (ssh, source, target) => [
    'rsync',
    [...options, '-e', ['ssh', ...ssh].join(' '), source, `127.0.0.1:${target}`],
  ])
}

/** scp; without a cipher, with what ssh chooses. */
export function scp(cipher?: string): Contender {
  return overSsh(cipher, 'scp', ['scp'], (ssh, source, target) => [
    'scp',
    ['-v', ...ssh, source, `127.0.0.1:${target}`],
  ])
}

function overSsh(
  cipher: string | undefined,
  name: string,
  programs: readonly string[],
  command: (
    ssh: readonly string[],
    source: string,
    target: string,
  ) => [program: string, args: readonly string[]],
): Contender {
  return {
    name: cipher === undefined ? name : `${name} (${cipher.split('@')[0]})`,
    needs: [...programs, 'sshd', 'ssh-keygen'],
    async move({ source, held, folder }) {
      const target = join(folder, NAME)
      if (held) await run('cp', ['--sparse=always', held, target])
      await using server = await startSshServer(join(folder, 'ssh'), cipher)
      const spent = async () =>
        (await cpuSeconds([server.pid])) +
        (await reapedCpuSeconds(server.pid)) +
        (await reapedCpuSeconds('self'))
      const before = await spent()
      const begun = performance.now()
      const stderr = await runToEnd(...command(server.options, source, target))
      const seconds = (performance.now() - begun) / 1000
      await untilChildless(server.pid)
      return {
        seconds,
        cpuSeconds: (await spent()) - before,
        wireBytes: sshWireBytes(stderr),
        targetBytes: await allocatedBytes(target),
      }
    },
  }
}

/** Runs a program and returns what it wrote to standard error. */
async function runToEnd(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const takeAlong = (): void => void child.kill('SIGTERM')
  process.once('exit', takeAlong)
  let stderr = ''
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  process.off('exit', takeAlong)
  if (status !== 0) throw new Error(`${program} exited with ${status}: ${stderr.slice(-500)}`)
  return stderr
}

async function allocatedBytes(path: string): Promise<number> {
  return (await stat(path)).blocks * BLOCK_BYTES
}

/** A new folder under `parent` for one task. */
export async function taskFolder(parent: string): Promise<{ path: string } & AsyncDisposable> {
  await mkdir(parent, { recursive: true })
  const path = await mkdtemp(join(parent, 'fluidcloud-bench-'))
  const remove = (): void => rmSync(path, { recursive: true, force: true })
  process.once('exit', remove)
  return {
    path,
    async [Symbol.asyncDispose]() {
      process.off('exit', remove)
      await rm(path, { recursive: true, force: true })
    },
  }
}
