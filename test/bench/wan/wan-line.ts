/** A line with a rate, a delay and losses between two network namespaces; link.c carries the packets. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { hasProgram } from '../../helpers/programs.ts'
import { compileC } from '../compile-c.ts'
import type { End, Line } from '../line.ts'

const SOURCE = fileURLToPath(new URL('./link.c', import.meta.url))
const START_TIMEOUT_MS = 5_000
/** As link.c has them. */
const [SENDER, RECEIVER] = ['10.77.0.1', '10.77.0.2']

export interface LineShape {
  readonly rateMbit: number
  readonly roundTripMs: number
  readonly lossPercent: number
  /** What TCP uses at both ends. */
  readonly congestion: string
  /** Of the bottleneck, each way; as much as is on the way in a round trip unless given. */
  readonly queueBytes?: number
}

/** Both directions together. */
export interface LineCounters {
  readonly packets: number
  /** With IP and TCP headers. */
  readonly wireBytes: number
  /** Of TCP alone, repeats included. */
  readonly payloadBytes: number
  readonly lost: number
  readonly dropped: number
}

export interface WanLine extends Line, AsyncDisposable {
  readonly pid: number
  counters(): Promise<LineCounters>
}

const SEED = 1
/** A queue on a line without delay. */
const MIN_QUEUE_BYTES = 2 ** 20

/** Why there can be no such line on this machine, or undefined. */
export function noWanLine(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root'
  const missing = ['gcc', 'ip', 'nsenter'].filter((program) => !hasProgram(program))
  return missing.length > 0 ? `needs ${missing.join(', ')}` : undefined
}

/** Opens the line; `folder` keeps the compiled program. Dispose it once everything at its ends has ended. */
export async function openWanLine(shape: LineShape, folder: string): Promise<WanLine> {
  const { rateMbit, roundTripMs, lossPercent, congestion } = shape
  const onTheWay = (rateMbit * 1e6 * roundTripMs) / 1000 / 8
  const queueBytes = shape.queueBytes ?? Math.max(MIN_QUEUE_BYTES, onTheWay)
  const args = [rateMbit, roundTripMs * 500, lossPercent * 10_000, queueBytes, SEED].map((number) =>
    String(Math.round(number)),
  )
  const child = spawn(await compileC(SOURCE, folder), [...args, congestion], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const takeAlong = (): void => void child.kill('SIGKILL')
  process.once('exit', takeAlong)
  const ended = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })
  const next = async (): Promise<number[]> => {
    const signal = AbortSignal.timeout(START_TIMEOUT_MS)
    const [line] = (await Promise.race([once(lines, 'line', { signal }), ended.then(died)])) as [string]
    return line.split(' ').map(Number)
  }
  const spaces = await next()
  const end = (index: number, address: string): End => ({
    address,
    command: (program, rest) => [
      'nsenter',
      [`--net=/proc/${child.pid}/fd/${spaces[index]}`, program, ...rest],
    ],
  })
  const counters = async (): Promise<LineCounters> => {
    const answer = next()
    child.stdin.write('?')
    const all = await answer
    const [packets, wireBytes, payloadBytes, lost, dropped] = [0, 1, 2, 3, 4].map(
      (at) => all[at] + all[at + 5],
    )
    return { packets, wireBytes, payloadBytes, lost, dropped }
  }
  return {
    sender: end(0, SENDER),
    receiver: end(1, RECEIVER),
    pid: child.pid!,
    carriedBytes: async () => (await counters()).wireBytes,
    counters,
    async [Symbol.asyncDispose]() {
      process.off('exit', takeAlong)
      await close(child, ended)
    },
  }
}

/** The end of its input ends it. */
async function close(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.stdin!.end()
  await ended
}

function died(): never {
  throw new Error('The program that carries the line ended')
}
