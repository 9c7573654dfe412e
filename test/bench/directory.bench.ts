/**
 * How soon agents that were told one address find each other: each a process of its own on this machine, all started
 * at once. Usage: node test/bench/directory.bench.ts [agents, default 20]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connectAgent } from '../../agent/control/client.ts'
import { initHome } from '../../agent/home.ts'
import { createReport } from './report.ts'

const PROGRAM = fileURLToPath(new URL('../../agent/main.ts', import.meta.url))
/** Waits between questions that were answered with nothing. */
const AGAIN_MS = 100
/** When a pair that has not found each other is given up. */
const MOST_MS = 30_000

interface Started extends AsyncDisposable {
  readonly home: string
  readonly pid: number
  readonly peerId: string
  readonly addr: string
  /** When it said that it is ready. */
  readonly readyAt: number
}

const count = Number(process.argv[2] ?? 20)
const base = await mkdtemp(join(tmpdir(), 'fcdir-'))
try {
  await main()
} finally {
  await rm(base, { recursive: true, force: true })
}

async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const report = createReport()
  const begunAt = performance.now()
  const first = stack.use(await start(0))
  const toldAt = performance.now()
  const others = await Promise.all(
    Array.from({ length: count - 1 }, async (_, i) => stack.use(await start(i + 1, first.addr))),
  )
  const agents = [first, ...others]
  const allReadyAt = performance.now()
  const found = await Promise.all(agents.map((agent) => findAll(agent, agents)))
  const doneAt = performance.now()
  const lookups = found.flatMap(({ lookupMs }) => lookupMs).sort((a, b) => a - b)
  const sinceReady = found.map(({ at }, i) => (at - agents[i].readyAt) / 1000).sort((a, b) => a - b)
  const cpu = await Promise.all(agents.map(({ pid }) => cpuSeconds(pid)))
  const quantile = (sorted: readonly number[], q: number) => sorted[Math.floor(q * (sorted.length - 1))]
  const figures = {
    agents: count,
    resolved: found.reduce((sum, each) => sum + each.resolved, 0),
    wanted: count * (count - 1),
    firstReadySeconds: (toldAt - begunAt) / 1000,
    allReadySeconds: (allReadyAt - begunAt) / 1000,
    secondsAfterAllReady: (doneAt - allReadyAt) / 1000,
    secondsAfterOwnReadyMedian: quantile(sinceReady, 0.5),
    secondsAfterOwnReadyMost: sinceReady.at(-1)!,
    lookupMsMedian: quantile(lookups, 0.5),
    lookupMs95: quantile(lookups, 0.95),
    cpuSecondsEach: cpu.reduce((sum, each) => sum + each, 0) / count,
  }
  report.table(
    `${count} agents, told one address`,
    ['figure', 'value'],
    Object.entries(figures).map(([name, value]) => [name, String(Math.round(value * 1000) / 1000)]),
  )
  report.json({ bench: 'directory', ...figures })
}

/** Starts an agent that is told `bootstrap` only, or nothing. */
async function start(number: number, bootstrap?: string): Promise<Started> {
  const home = await initHome(join(base, String(number)), { name: `agent-${number}` })
  const how = bootstrap ? ['--bootstrap', bootstrap] : []
  const config = bootstrap ? '' : 'directory = true\n'
  if (config) await prepend(home.config, config)
  const argv = ['--home', home.path, 'agent', '--json', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', PROGRAM, ...argv, '--data-port', '0', ...how],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const ended = once(child, 'exit')
  const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [unknown]
  const ready = JSON.parse(String(line)) as { peerId: string; addrs: string[] }
  return {
    home: home.path,
    pid: child.pid!,
    peerId: ready.peerId,
    addr: ready.addrs[0],
    readyAt: performance.now(),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Has `agent` find every other, all at once. */
async function findAll(agent: Started, agents: readonly Started[]) {
  await using client = await connectAgent(agent.home)
  const lookupMs: number[] = []
  let resolved = 0
  const until = performance.now() + MOST_MS
  await Promise.all(
    agents.map(async ({ peerId, addr }) => {
      if (peerId === agent.peerId) return
      while (performance.now() < until) {
        const asked = performance.now()
        const { addrs } = await client.find({ peer: peerId })
        if (addrs.includes(addr)) {
          lookupMs.push(performance.now() - asked)
          resolved++
          return
        }
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
      }
    }),
  )
  return { at: performance.now(), lookupMs, resolved }
}

async function prepend(path: string, keys: string): Promise<void> {
  await writeFile(path, `${keys}${await readFile(path, 'utf8')}`)
}

/** Processor time of a process so far. */
async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
