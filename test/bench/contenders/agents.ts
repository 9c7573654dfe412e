/** Two agents of ours, each a process at one end of a line, paired: what every case of ours runs on. */
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connectAgent, type AgentClient } from '../../../agent/control/client.ts'
import { initHome } from '../../../agent/home.ts'
import type { End, Line } from '../line.ts'
import { disposable, keepEnd, runToEnd, start } from '../processes.ts'

const PROGRAM = fileURLToPath(new URL('../../../agent/start.js', import.meta.url))
const START_TIMEOUT_MS = 60_000
const TICKET_EXPIRES_MS = 60_000
/** What the sender calls the other. */
export const PEER = 'receiver'

export interface Agent extends AsyncDisposable {
  readonly pid: number
  readonly home: string
  readonly api: AgentClient
  /** Ends it as a power cut would. */
  kill(): Promise<void>
}

/** Of the result line of `move --json`. */
export interface MoveResult {
  readonly wireBytes: number
  readonly sentBytes: number
  readonly seconds: number
}

export interface AgentPair extends AsyncDisposable {
  readonly sender: Agent
  readonly receiver: Agent
  /** The folder that the receiver opened. */
  readonly target: string
}

export interface Ports {
  readonly mesh: number
  readonly data: number
}

export interface PairOptions {
  /** So that either can be started again where its peer finds it; chosen by the system unless given. */
  readonly ports?: { readonly sender: Ports; readonly receiver: Ports }
  /** The folder that the receiver opens; one in `folder` unless given. */
  readonly target?: string
}

/** Starts both, with new homes in `folder`, and pairs them. */
export async function startAgents(line: Line, folder: string, options: PairOptions = {}): Promise<AgentPair> {
  const { ports, target = join(folder, 'target') } = options
  const [senderHome, receiverHome] = ['sender', PEER].map((name) => join(folder, name))
  await initHome(senderHome, { name: 'sender' })
  await initHome(receiverHome, { name: PEER })
  await using stack = new AsyncDisposableStack()
  const sender = stack.use(await startAgent(line.sender, senderHome, ports?.sender))
  const receiver = stack.use(await startAgent(line.receiver, receiverHome, ports?.receiver))
  const { ticket } = await receiver.api.pairTicket({
    expiresMs: TICKET_EXPIRES_MS,
    uses: 1,
    folder: target,
    approve: 'auto',
  })
  await sender.api.pairRedeem({ ticket, name: PEER })
  const owned = stack.move()
  return { sender, receiver, target, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Starts the agent of an initialised home. */
export async function startAgent(
  end: End,
  home: string,
  ports: Ports = { mesh: 0, data: 0 },
): Promise<Agent> {
  const listen = ['--listen', `/ip4/${end.address}/tcp/${ports.mesh}`, '--data-port', `${ports.data}`]
  const child = start(end, process.execPath, commandLine(home, 'agent', ...listen, '--no-mdns'))
  const log = keepEnd(child)
  const ended = disposable(child)
  try {
    const lines = createInterface({ input: child.stdout! })
    await Promise.race([
      once(lines, 'line', { signal: AbortSignal.timeout(START_TIMEOUT_MS) }),
      once(child, 'exit').then(() => Promise.reject(new Error(`The agent ended: ${log()}`))),
    ])
  } catch (error) {
    await ended[Symbol.asyncDispose]()
    throw error
  }
  const api = await connectAgent(home)
  return {
    pid: child.pid!,
    home,
    api,
    async kill() {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      await api[Symbol.asyncDispose]()
    },
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]()
      await ended[Symbol.asyncDispose]()
    },
  }
}

/** `fluidcloud move`, as a user runs it; ends with the job. */
export async function runMove(
  end: End,
  { home }: Agent,
  source: string,
  name: string,
  options: readonly string[] = [],
): Promise<MoveResult> {
  const args = commandLine(home, 'move', source, `${PEER}:${name}`, '--replace', ...options)
  const { stdout } = await runToEnd(end, process.execPath, args)
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as MoveResult
}

function commandLine(home: string, ...args: readonly string[]): string[] {
  return ['--disable-warning=ExperimentalWarning', PROGRAM, '--home', home, '--json', ...args]
}
