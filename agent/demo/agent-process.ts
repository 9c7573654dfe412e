/** An agent in a process of its own, as a provider runs it; its home is a folder that someone else removes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { FluidError } from '../../protocol/errors.ts'
import { connectAgent, type AgentClient } from '../control/client.ts'

/** Dispose it to stop the agent. */
export interface AgentProcess extends AsyncDisposable {
  readonly pid: number
  readonly api: AgentClient
  /** Ends it as a power cut would. */
  kill(): Promise<void>
}

const PROGRAM = fileURLToPath(new URL('../start.js', import.meta.url))
const START_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 5_000
const KEPT_LOG_CHARS = 2_000

/** Starts the agent of an initialised home, reachable from this machine alone. */
export async function startAgentProcess(home: string, signal: AbortSignal): Promise<AgentProcess> {
  signal.throwIfAborted()
  const listen = ['--listen', '/ip4/127.0.0.1/tcp/0', '--data-port', '0', '--no-mdns']
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', PROGRAM, '--home', home, '--json', 'agent', ...listen],
    // A group of its own: Ctrl-C is for the demonstration, which then stops its agents in order.
    { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
  )
  const ended = once(child, 'exit')
  ended.catch(() => {})
  // Whatever ends this process takes its agents with it.
  const takeAlong = (): void => void child.kill('SIGKILL')
  process.once('exit', takeAlong)
  child.once('exit', () => process.off('exit', takeAlong))
  let log = ''
  child.stderr.on('data', (text: Buffer) => (log = (log + text.toString()).slice(-KEPT_LOG_CHARS)))
  const kill = async (how: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill(how)
    await ended
  }
  try {
    await isReady(createInterface({ input: child.stdout }), signal, () => log)
    const api = await connectAgent(home, { signal })
    return {
      pid: child.pid!,
      api,
      async kill() {
        await kill('SIGKILL')
        await api[Symbol.asyncDispose]()
      },
      async [Symbol.asyncDispose]() {
        await api[Symbol.asyncDispose]()
        const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
        await kill('SIGTERM')
        clearTimeout(late)
      },
    }
  } catch (error) {
    await kill('SIGKILL')
    throw error
  }
}

async function isReady(lines: NodeJS.EventEmitter, signal: AbortSignal, log: () => string): Promise<void> {
  const over = new AbortController()
  const any = AbortSignal.any([signal, over.signal, AbortSignal.timeout(START_TIMEOUT_MS)])
  try {
    await Promise.race([
      once(lines, 'line', { signal: any }),
      once(lines, 'close', { signal: any }).then(died),
    ])
  } catch (cause) {
    signal.throwIfAborted()
    throw new FluidError('AGENT_NOT_RUNNING', 'An agent of the demonstration did not start', {
      cause,
      hint: `It said: ${log().trim().split('\n').at(-1) ?? 'nothing'}`,
    })
  } finally {
    over.abort()
  }
}

function died(): never {
  throw new Error('The agent ended before it was ready')
}
