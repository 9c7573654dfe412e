/** The two ends of a move and what joins them: this machine's loopback, or the line of wan/. */
import { readFile } from 'node:fs/promises'

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

/** Both ends are this machine. What other programs send over loopback counts as well. */
export function loopback(): Line {
  const end: End = { address: '127.0.0.1', command: (program, args) => [program, args] }
  return {
    sender: end,
    receiver: end,
    carriedBytes: async () => (await interfaceBytes('self', 'lo')).sent,
  }
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
