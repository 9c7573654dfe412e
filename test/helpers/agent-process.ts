/**
 * Real agents, each a process with a home of its own on loopback, that a test can kill and start again where its peers
 * find it. Commands are the program's own command line against the agent's socket; they run in the test's process,
 * which spares the start of a Node for each (spawnProgram() starts one).
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile, readdir, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { JobReport } from '../../agent/reports/job-reports.ts'
import { connectAgent } from '../../agent/control/client.ts'
import { initHome, type Home } from '../../agent/home.ts'
import { runIn, type Outcome } from './command-line.ts'
import { eventually } from './eventually.ts'
import { hasProgram } from './programs.ts'
import { tempDir, type Owner } from './temp-dir.ts'
import { isPortFree } from './free-port.ts'

const PROGRAM = fileURLToPath(new URL('../../agent/start.js', import.meta.url))
const POLL_MS = 20
/** Below those that the system gives to outgoing connections, so that a restart finds its own free. */
const FIRST_PORT = 20_000
const PORTS = 12_000

/** A line of --json. */
// eslint-disable-next-line typescript/no-explicit-any
export type Line = Record<string, any>

export interface AgentProcessOptions {
  /** Added to config.toml. */
  readonly config?: string
  /** Where its folders are made; the system's temporary folder by default. */
  readonly parent?: string
  /** Path of another version's main module; this one's by default. */
  readonly program?: string
  /** What it runs: an agent by default. */
  readonly verb?: 'agent' | 'broker'
  /** True to have its mesh listen by UDP (WebRTC), and not by TCP; needs webrtc in its configuration. */
  readonly udp?: boolean
  /** True for a session of its own: a process that is to be stopped in ours may get SIGHUP as an orphan. */
  readonly session?: boolean
}

/** One agent and its home; the process is another after every start. */
export class AgentProcess {
  readonly name: string
  readonly home: Home
  /** A folder beside the home, for volumes; nothing is granted in it. */
  readonly folder: string
  readonly meshPort: number
  readonly dataPort: number
  readonly #program: string
  readonly #verb: 'agent' | 'broker'
  readonly #listen: string
  readonly #session: boolean
  #child: ChildProcess | undefined
  #peerId = ''
  #ended: Promise<unknown> = Promise.resolve()

  constructor(
    name: string,
    folder: string,
    home: Home,
    [meshPort, dataPort]: readonly number[],
    {
      program = PROGRAM,
      verb = 'agent',
      udp,
      session = false,
    }: Pick<AgentProcessOptions, 'program' | 'verb' | 'udp' | 'session'> = {},
  ) {
    this.name = name
    this.folder = folder
    this.home = home
    this.meshPort = meshPort
    this.dataPort = dataPort
    this.#program = program
    this.#verb = verb
    this.#session = session
    this.#listen = `/ip4/127.0.0.1/${udp ? `udp/${meshPort}/webrtc-direct` : `tcp/${meshPort}`}`
  }

  /** Its multiaddr, with its peer ID. */
  get addr(): string {
    return `/ip4/127.0.0.1/tcp/${this.meshPort}/p2p/${this.#peerId}`
  }

  get pid(): number {
    return this.#child!.pid!
  }

  /** Starts it, on the ports it always has, and gives its ready line; `env` is added to its environment. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<Line> {
    const log = openSync(this.#log, 'a')
    const child = spawnProgram(
      [
        '--home',
        this.home.path,
        this.#verb,
        '--json',
        '--no-mdns',
        '--listen',
        this.#listen,
        ...(this.#verb === 'agent' ? ['--data-port', `${this.dataPort}`] : []),
      ],
      { stderr: log, program: this.#program, env, session: this.#session },
    )
    closeSync(log)
    this.#child = child
    this.#ended = once(child, 'exit')
    const [line] = (await Promise.race([once(createInterface(child.stdout!), 'line'), this.#ended])) as [
      unknown,
    ]
    const ready = typeof line === 'string' ? (JSON.parse(line) as Line) : undefined
    if (ready?.type !== 'ready')
      throw new Error(`${this.name} did not start: ${String(line)}\n${await this.log()}`)
    this.#peerId = ready.peerId as string
    return ready
  }

  /** SIGKILL; nothing of the process runs any more when this resolves. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#ended
  }

  /** SIGSTOP, until thaw(): it is there, and does nothing. Needs a session of its own. */
  freeze(): void {
    this.#child?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#child?.kill('SIGCONT')
  }

  /** Resolves when the process has ended by itself. */
  async died(): Promise<void> {
    await this.#ended
  }

  /** SIGTERM; gives its exit status, or the signal that ended it. */
  async stop(): Promise<number | NodeJS.Signals | null> {
    this.#child?.kill('SIGTERM')
    await this.#ended
    return this.#child?.exitCode ?? this.#child?.signalCode ?? null
  }

  /** One command, with --json. */
  run(...argv: string[]): Promise<Outcome> {
    return runIn(this.folder, this.home, [...argv, '--json'])
  }

  /** The last line of a command; throws when it fails. */
  async tell(...argv: string[]): Promise<Line> {
    const { exit, lines } = await this.run(...argv)
    const last = lines.at(-1)
    if (exit === 0 && last) return last
    const { exitCode, signalCode } = this.#child!
    const process = exitCode === null && signalCode === null ? 'runs' : `ended with ${signalCode ?? exitCode}`
    throw new Error(
      `${argv.join(' ')} exited ${exit}: ${JSON.stringify(last)}\nThe agent ${process}:\n${await this.log()}`,
    )
  }

  /** Starts a move and gives its job's id. */
  async begin(source: string, target: string, ...options: string[]): Promise<string> {
    return (await this.tell('move', source, target, '--detach', ...options)).job
  }

  /** The jobs it holds, newest first. */
  async jobs(): Promise<JobReport[]> {
    await using client = await connectAgent(this.home)
    return await client.jobs()
  }

  /** The job's report as soon as `wanted` says so, across restarts; throws as eventually() does. */
  async until(job: string, wanted: (report: JobReport) => boolean): Promise<JobReport> {
    let report: JobReport | undefined
    const look = async () => {
      const jobs = await this.jobs().catch(() => [])
      report = jobs.find((each) => each.job === job)
      if (report && wanted(report)) return report
      if (report?.state === 'failed')
        throw new Error(`${job} failed: ${report.error?.message}\n${await this.log()}`)
      return undefined
    }
    const explain = async () =>
      `${this.name} has ${JSON.stringify(report)}, not what ${wanted.toString()} wants\n${await this.log()}`
    return await eventually(look, { pollMs: POLL_MS, explain })
  }

  /** Waits until the job is complete. */
  finish(job: string): Promise<JobReport> {
    return this.until(job, ({ state }) => state === 'complete')
  }

  /** Adds keys to config.toml, before its sections; holds from the next start. */
  async configure(keys: string): Promise<void> {
    await writeFile(this.home.config, `${keys}\n${await readFile(this.home.config, 'utf8')}`)
  }

  /** Adds sections to the end of config.toml; hold from the next start. */
  async append(sections: string): Promise<void> {
    await writeFile(this.home.config, `${await readFile(this.home.config, 'utf8')}\n${sections}\n`)
  }

  /** Names object stores of this host, address:port, that peers may have it ask; holds from the next start. */
  async nameStores(stores: readonly string[]): Promise<void> {
    const config = await readFile(this.home.config, 'utf8')
    await writeFile(this.home.config, config.replace('# stores = []', `stores = ${JSON.stringify(stores)}`))
  }

  /** The end of what it wrote to standard error. */
  async log(): Promise<string> {
    return (await readFile(this.#log, 'utf8').catch(() => '')).slice(-4000)
  }

  /** Most memory the process ever had resident, bytes. */
  async peakRssBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8')
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024
  }

  /** Paths below `folder` that the process has open, as the system names them. */
  async openFiles(folder: string): Promise<string[]> {
    const descriptors = `/proc/${this.pid}/fd`
    const fds = await readdir(descriptors)
    const paths = await Promise.all(fds.map((fd) => readlink(join(descriptors, fd)).catch(() => '')))
    return paths.filter((path) => path.startsWith(`${folder}/`))
  }

  get #log(): string {
    return join(this.folder, '..', 'log')
  }
}

/** A started agent called `name`; it ends with its owner. */
export async function startAgent(
  owner: Owner,
  name: string,
  { config, parent, program, verb, udp, session }: AgentProcessOptions = {},
): Promise<AgentProcess> {
  const base = await tempDir(owner, parent)
  const home = await initHome(join(base, 'home'), { name })
  const folder = join(base, 'files')
  await mkdir(folder)
  const ports = [await claimPort(owner, { udp }), await claimPort(owner)]
  const agent = new AgentProcess(name, folder, home, ports, { program, verb, udp, session })
  if (config !== undefined) await agent.configure(config)
  owner.teardown(() => agent.kill())
  await agent.start()
  return agent
}

/** Two that are paired: `alpine` may write into the imports of `boreal`. */
export interface AgentPair {
  readonly alpine: AgentProcess
  readonly boreal: AgentProcess
  /** Absolute path of what boreal holds under `name`. */
  at(name: string): string
  /** Absolute path of a file at alpine. */
  source(name: string): string
}

export interface AgentPairOptions {
  readonly alpine?: AgentProcessOptions
  readonly boreal?: AgentProcessOptions
  /** Options of `pair ticket`. */
  readonly ticket?: readonly string[]
}

/** Starts two agents and pairs them; they end with their owner. */
export async function startPair(owner: Owner, options: AgentPairOptions = {}): Promise<AgentPair> {
  const [alpine, boreal] = await Promise.all([
    startAgent(owner, 'alpine', options.alpine),
    startAgent(owner, 'boreal', options.boreal),
  ])
  await pairAgents(alpine, boreal, ...(options.ticket ?? []))
  return {
    alpine,
    boreal,
    at: (name) => join(boreal.home.imports, name),
    source: (name) => join(alpine.folder, name),
  }
}

/** Has `sender` redeem a ticket of `receiver`. */
export async function pairAgents(
  sender: AgentProcess,
  receiver: AgentProcess,
  ...options: string[]
): Promise<void> {
  const { ticket } = await receiver.tell('pair', 'ticket', ...options)
  await sender.tell('pair', ticket, '--as', receiver.name)
}

/** The program as a process of its own, its standard output piped. */
export function spawnProgram(
  argv: readonly string[],
  {
    stderr = 'ignore',
    program = PROGRAM,
    env = {},
    session = false,
  }: {
    stderr?: number | 'ignore'
    program?: string
    env?: Readonly<Record<string, string>>
    session?: boolean
  } = {},
): ChildProcess {
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', program, ...argv]
  // ava ends a file that hangs with a signal: what the file started must end with it. setpriv keeps the process id.
  if (hasProgram('setpriv')) command.unshift('setpriv', '--pdeathsig', 'KILL')
  return spawn(command[0], command.slice(1), {
    stdio: ['ignore', 'pipe', stderr],
    env: { ...process.env, ...env },
    detached: session,
  })
}

/**
 * A TCP port that no other agent of the test run uses, in whichever process it was started: an agent must find its port
 * free again after a kill, while others choose theirs. The UDP port of the same number, held until the owner is done,
 * is the claim; a port for `udp` is not held.
 */
async function claimPort(owner: Owner, { udp = false } = {}): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS)
    const claim = createSocket('udp4')
    const claimed = await new Promise<boolean>((resolve) => {
      claim.once('error', () => resolve(false))
      claim.bind({ address: '127.0.0.1', port, exclusive: true }, () => resolve(true))
    })
    if (claimed && (await isPortFree(port))) {
      claim.unref()
      if (udp) claim.close()
      else owner.teardown(() => claim.close())
      return port
    }
    claim.close()
  }
}
