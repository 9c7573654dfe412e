/** The two ends of a move and what joins them: this machine's loopback, or the line of wan/. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { hasProgram } from '../helpers/programs.ts'

export interface End {
  /** Where the other end reaches it. */
  readonly address: string
  /** Program and arguments that run a command at this end. */
  command(program: string, args: readonly string[]): [program: string, args: readonly string[]]
}

export interface Line {
  readonly sender: End
  readonly receiver: End
  /** Process whose time and memory are the line's own. */
  readonly pid?: number
  /** Everything that went over it so far, both directions, with all headers. */
  carriedBytes(): Promise<number>
}

/**
 * Both ends are this machine, in a network namespace of their own, so that its loopback counts nothing else; as another
 * user than root in the machine's own. Dispose it once everything at its ends has ended.
 */
export async function openLoopback(): Promise<Line & AsyncDisposable> {
  const address = '127.0.0.1'
  if (process.getuid?.() !== 0 || !hasProgram('unshare') || !hasProgram('ip')) {
    const end: End = { address, command: (program, args) => [program, args] }
    return lineOf(
      end,
      async () => (await interfaceBytes('self', 'lo')).sent,
      async () => {},
    )
  }
  // The namespace ends with the shell, and the shell with its input.
  const script = 'ip link set lo up && echo up && read -r _'
  const child = spawn('unshare', ['--net', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  await Promise.race([once(child.stdout, 'data'), ended])
  const end: End = {
    address,
    command: (program, args) => ['nsenter', [`--net=/proc/${child.pid}/ns/net`, program, ...args]],
  }
  return lineOf(
    end,
    async () => (await interfaceBytes(child.pid!, 'lo')).sent,
    async () => {
      child.stdin.end()
      await ended
    },
  )
}

function lineOf(
  end: End,
  carriedBytes: () => Promise<number>,
  close: () => Promise<void>,
): Line & AsyncDisposable {
  return { sender: end, receiver: end, carriedBytes, [Symbol.asyncDispose]: close }
}

/** What an interface received and sent, in the network namespace of a process: proc_pid_net(5). */
export async function interfaceBytes(
  pid: number | 'self',
  name: string,
): Promise<{ received: number; sent: number }> {
  const lines = (await readFile(`/proc/${pid}/net/dev`, 'utf8')).split('\n')
  const counters = lines.map((line) => line.trim().split(/:?\s+/)).find(([first]) => first === name)
  if (!counters) throw new Error(`There is no interface ${name}`)
  return { received: Number(counters[1]), sent: Number(counters[9]) }
}
