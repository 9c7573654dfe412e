/**
 * A mesh on one machine: brokers and agents as processes that were told one address. How soon every agent finds every
 * other by its peer ID, whether an offer is found when all brokers but one are killed, and whether its lease survives.
 * Usage: node test/bench/directory.bench.ts [--agents 20] [--brokers 3] [--json]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { connectAgent } from '../../agent/control/client.ts'
import { initHome, type Home } from '../../agent/home.ts'
import { createReport } from './report.ts'

const PROGRAM = fileURLToPath(new URL('../../agent/start.js', import.meta.url))
/** Waits between questions that were answered with nothing. */
const AGAIN_MS = 100
/** When what is not there is given up. */
const MOST_MS = 30_000
const OFFER = `
provider = "Alpine Cloud"
place    = { region = "ch-gva-2", jurisdiction = "CH" }
cloud    = { kind = "qemu", formats = ["raw", "qcow2"] }
capacity = { vcpus = 64, memory = "256GiB", storage = "20TiB", max_volume = "16TiB" }
price    = { currency = "EUR", vcpu_hour = 0.02 }
lease    = "1h"
`

interface Started extends AsyncDisposable {
  readonly home: Home
  readonly verb: Verb
  readonly pid: number
  readonly peerId: string
  readonly addr: string
}
type Verb = 'agent' | 'broker'

const { values } = parseArgs({
  options: {
    agents: { type: 'string', default: '20' },
    brokers: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
})
const [agentCount, brokerCount] = [Number(values.agents), Number(values.brokers)]
const base = await mkdtemp(join(tmpdir(), 'fcdir-'))
try {
  await main()
} finally {
  await rm(base, { recursive: true, force: true })
}

async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const homes = await Promise.all(
    Array.from({ length: brokerCount + agentCount }, (_, i) =>
      initHome(join(base, String(i)), { name: `n-${i}` }),
    ),
  )
  const begun = performance.now()
  const since = (at: number) => (performance.now() - at) / 1000
  const first = stack.use(await start(homes[0], 'broker'))
  const firstReadySeconds = since(begun)
  const others = await Promise.all(
    homes
      .slice(1)
      .map(async (home, i) =>
        stack.use(await start(home, i + 1 < brokerCount ? 'broker' : 'agent', { bootstrap: first.addr })),
      ),
  )
  const all = [first, ...others]
  const agents = all.filter(({ verb }) => verb === 'agent')
  const brokers = all.filter(({ verb }) => verb === 'broker')
  const allReadySeconds = since(begun)
  const startCpu = await meanCpu(all)
  const found = await Promise.all(agents.map((agent) => findAll(agent, agents)))
  const resolvedSeconds = since(begun)
  const figures = {
    agents: agentCount,
    brokers: brokerCount,
    resolved: found.reduce((sum, { resolved }) => sum + resolved, 0),
    wanted: agentCount * (agentCount - 1),
    firstReadySeconds,
    allReadySeconds,
    resolvedSeconds,
    startCpuSecondsEach: startCpu,
    cpuSecondsEach: await meanCpu(all),
    ...(brokerCount > 1 && agentCount > 1 && (await killBrokers(stack, { brokers, agents }))),
  }
  const report = createReport()
  report.table(
    `${brokerCount} brokers and ${agentCount} agents, told one address`,
    ['figure', 'value'],
    Object.entries(figures).map(([name, value]) => [
      name,
      String(typeof value === 'number' ? Math.round(value * 1000) / 1000 : value),
    ]),
  )
  if (values.json) report.json({ bench: 'directory', ...figures })
}

/** Kills all brokers but the last, then brings them back and kills the last: the offer is found, and is the same. */
async function killBrokers(
  stack: AsyncDisposableStack,
  { brokers, agents: [provider, asker] }: { brokers: readonly Started[]; agents: readonly Started[] },
) {
  await using client = await connectAgent(asker.home)
  const list = async (from: readonly string[]) => {
    for await (const { offers } of client.offersList({ brokers: from }))
      for (const { offer, expiresAt } of offers) return `${offer} ${expiresAt}`
    return undefined
  }
  const listed = (from: readonly string[]) => again(() => list(from))
  const published = await again(async () => {
    await using publisher = await connectAgent(provider.home)
    const file = join(base, 'offer.toml')
    const { offer, expiresAt } = await publisher.offersPublish({ text: OFFER, file, brokers: [] })
    return `${offer} ${expiresAt}`
  })
  for (const { addr } of brokers) await listed([addr])
  // It would renew the offer.
  await provider[Symbol.asyncDispose]()
  const [last, ...killed] = brokers.toReversed()
  await Promise.all(killed.map((broker) => broker[Symbol.asyncDispose]()))
  const killedAt = performance.now()
  const foundAfterKills = published !== undefined && (await listed([])) === published
  const foundAgainSeconds = (performance.now() - killedAt) / 1000
  const back = await Promise.all(
    killed.map(async ({ home, addr }) => {
      const listen = addr.replace(/\/p2p\/.*/, '')
      return stack.use(await start(home, 'broker', { listen, bootstrap: last.addr }))
    }),
  )
  await last[Symbol.asyncDispose]()
  const kept = await Promise.all(back.map(async ({ addr }) => (await listed([addr])) === published))
  return { foundAfterKills, foundAgainSeconds, leasesIntact: kept.every(Boolean) }
}

/** What `ask` says when it says something; undefined after MOST_MS. */
async function again<T>(ask: () => Promise<T | undefined>): Promise<T | undefined> {
  for (const until = performance.now() + MOST_MS; performance.now() < until;) {
    const answer = await ask().catch(() => undefined)
    if (answer !== undefined) return answer
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
  }
  return undefined
}

async function start(
  home: Home,
  verb: Verb,
  { listen = '/ip4/127.0.0.1/tcp/0', bootstrap }: { listen?: string; bootstrap?: string } = {},
): Promise<Started> {
  const argv = ['--home', home.path, verb, '--json', '--no-mdns', '--listen', listen]
  if (verb === 'agent') argv.push('--data-port', '0')
  if (bootstrap) argv.push('--bootstrap', bootstrap)
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM, ...argv], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const ended = once(child, 'exit')
  const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [unknown]
  const ready = JSON.parse(String(line)) as { peerId: string; addrs: string[] }
  return {
    home,
    verb,
    pid: child.pid!,
    peerId: ready.peerId,
    addr: ready.addrs[0],
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Has `agent` find every other, all at once. */
async function findAll(agent: Started, agents: readonly Started[]) {
  await using client = await connectAgent(agent.home)
  const found = await Promise.all(
    agents.map(async ({ peerId, addr }) => {
      if (peerId === agent.peerId) return false
      return await again(async () => (await client.find({ peer: peerId })).addrs.includes(addr) || undefined)
    }),
  )
  return { resolved: found.filter(Boolean).length }
}

/** Processor time of one so far, on average. */
async function meanCpu(all: readonly Started[]): Promise<number> {
  const seconds = await Promise.all(
    all.map(async ({ pid }) => {
      const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ')
      return (Number(fields[11]) + Number(fields[12])) / 100
    }),
  )
  return seconds.reduce((sum, each) => sum + each, 0) / all.length
}
