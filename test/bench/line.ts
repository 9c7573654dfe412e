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

/** A line that tells payload from headers. */
export interface CountingLine extends Line {
  /** Of TCP alone, both directions, repeats included; to a few thousandths. */
  payloadBytes(): Promise<number>
}

/**
 * Both ends are this machine, in a network namespace of their own, so that its loopback counts nothing else; as another
 * user than root in the machine's own. Dispose it once everything at its ends has ended.
 */
export async function openLoopback(): Promise<CountingLine & AsyncDisposable> {
  const address = '127.0.0.1'
  if (process.getuid?.() !== 0 || !hasProgram('unshare') || !hasProgram('ip')) {
    const end: End = { address, command: (program, args) => [program, args] }
    return lineOf(end, 'self', async () => {})
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
  return lineOf(end, child.pid!, async () => {
    child.stdin.end()
    await ended
  })
}

/** The same line, both ends of which share the first `cores` processors. */
export function onCores(line: Line, cores: number): Line {
  const confined = (end: End): End => ({
    ...end,
    command: (program, args) => end.command('taskset', ['-c', `0-${cores - 1}`, program, ...args]),
  })
  return { ...line, sender: confined(line.sender), receiver: confined(line.receiver) }
}

/** A packet of a connection has so many bytes of headers, IP's and TCP's with its timestamp. */
const HEADER_BYTES = 52

function lineOf(end: End, pid: number | 'self', close: () => Promise<void>): CountingLine & AsyncDisposable {
  return {
    sender: end,
    receiver: end,
    carriedBytes: async () => (await interfaceBytes(pid, 'lo')).sent,
    async payloadBytes() {
      const { IpExt, Tcp } = await protocolCounters(pid)
      return IpExt.OutOctets - Tcp.OutSegs * HEADER_BYTES
    },
    [Symbol.asyncDispose]: close,
  }
}

/** What the kernel counts of each protocol, in the network namespace of a process. */
async function protocolCounters(pid: number | 'self'): Promise<Record<string, Record<string, number>>> {
  const counters: Record<string, Record<string, number>> = {}
  for (const name of ['snmp', 'netstat']) {
    const lines = (await readFile(`/proc/${pid}/net/${name}`, 'utf8')).trim().split('\n')
    // Two lines each: the names, and what they count.
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const [names, values] = [lines[i].split(' '), lines[i + 1].split(' ')]
      counters[names[0].slice(0, -1)] = Object.fromEntries(names.map((key, at) => [key, Number(values[at])]))
    }
  }
  return counters
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
