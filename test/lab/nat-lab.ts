/**
 * What connects how through which NAT: agents in network namespaces behind nftables, a relay that all reach, and a move
 * from each kind of network to each. It prints the table and asserts nothing. Needs root, ip and nft.
 * Usage: node test/lab/nat-lab.ts [--forbid-relay | --reachable] [--only 'port-restricted,UDP blocked']
 * --reachable moves nothing: it prints what each agent learns from the relay about its own two ports.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connectAgent } from '../../agent/control/client.ts'
import { initHome } from '../../agent/home.ts'
import { createReport } from '../bench/report.ts'
import { MiB, noise } from '../helpers/volume.ts'

const PROGRAM = fileURLToPath(new URL('../../agent/main.ts', import.meta.url))
const PREFIX = `fcl${process.pid % 10_000}`
const POLL_MS = 50
/** A cell of the table is given up after this long. */
const CELL_MS = 60_000

interface Kind {
  readonly name: string
  /** Rules of the router; undefined: none, the agent is on the outer network itself. */
  readonly nat?: { readonly masquerade: string; readonly forwards?: boolean; readonly dropsUdp?: boolean }
}

const ALL_KINDS: readonly Kind[] = [
  { name: 'public' },
  { name: 'full cone', nat: { masquerade: 'masquerade persistent', forwards: true } },
  { name: 'port-restricted', nat: { masquerade: 'masquerade persistent' } },
  { name: 'symmetric', nat: { masquerade: 'masquerade random,fully-random' } },
  { name: 'UDP blocked', nat: { masquerade: 'masquerade persistent', dropsUdp: true } },
]

const only = process.argv[process.argv.indexOf('--only') + 1].split(',')
const KINDS = process.argv.includes('--only')
  ? ALL_KINDS.filter(({ name }) => only.includes(name))
  : ALL_KINDS

interface Host {
  readonly home: string
  readonly name: string
}

/** Not the program of that name which npm puts before it. */
const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }
const run = (command: string, ...args: string[]) => void execFileSync(command, args, { stdio: 'pipe', env })
const ip = (...args: string[]) => run('ip', ...args)
const inside = (space: string, command: string, ...args: string[]) =>
  ip('netns', 'exec', space, command, ...args)

const stack = new AsyncDisposableStack()
let stopping: Promise<void> | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    stopping ??= stack.disposeAsync().then(() => process.exit(130))
  })
try {
  await main()
} catch (error) {
  // Agents that are ended on purpose answer no more.
  if (!stopping) throw error
} finally {
  await (stopping ?? stack.disposeAsync())
}

async function main(): Promise<void> {
  const base = await mkdtemp(join(tmpdir(), 'fclab-'))
  stack.defer(() => rm(base, { recursive: true, force: true }))
  const allow = process.argv.includes('--forbid-relay')
    ? 'webrtc = true\n'
    : 'webrtc = true\nallow_relay = true\n'
  const outer = makeSpace('wan')
  inside(outer, 'ip', 'link', 'add', 'br0', 'type', 'bridge')
  inside(outer, 'ip', 'link', 'set', 'br0', 'up')
  const relay = await startHost(
    base,
    'relay',
    attach(outer, 'relay', '10.90.0.2'),
    'webrtc = true\nrelay = true\n',
  )
  const sources = await startSide(base, outer, 'from', 10, allow)
  if (process.argv.includes('--reachable')) return await reachability(sources, relay)
  const targets = await startSide(base, outer, 'to', 40, allow)
  for (const host of [...sources, ...targets]) await pair(host, relay)
  const cells: string[][] = []
  for (const [i, source] of sources.entries()) {
    const row: string[] = []
    for (const [j, target] of targets.entries()) {
      row.push(await cell(source, target))
      console.error(`${KINDS[i].name} to ${KINDS[j].name}: ${row.at(-1)}`)
    }
    cells.push([KINDS[i].name, ...row])
  }
  const report = createReport()
  report.table(
    'From the row to the column: path of the data / of the control stream',
    ['', ...KINDS.map(({ name }) => name)],
    cells,
  )
  report.json({ lab: 'nat', relayAllowed: allow.includes('allow'), cells })
}

/** What each agent learns of its own ports, when the relay is all it knows. */
async function reachability(hosts: readonly Host[], relay: Host): Promise<void> {
  const cells: string[][] = []
  for (const [i, host] of hosts.entries()) {
    await pair(host, relay)
    await using here = await connectAgent(host.home)
    const deadline = performance.now() + CELL_MS
    let { reachable } = await here.status()
    while (reachable?.data.state === 'unknown' && performance.now() < deadline) {
      await delay(POLL_MS)
      reachable = (await here.status()).reachable
    }
    cells.push([
      KINDS[i].name,
      reachable?.mesh.state ?? '',
      reachable?.data.state ?? '',
      reachable?.mesh.at ?? '',
    ])
  }
  const report = createReport()
  report.table('Can be reached, as the relay found', ['', 'mesh', 'data', 'tried at'], cells)
  report.json({ lab: 'nat-reachable', cells })
}

/** A namespace that ends with the program. */
function makeSpace(name: string): string {
  const space = `${PREFIX}${name}`
  ip('netns', 'add', space)
  stack.defer(() => ip('netns', 'del', space))
  inside(space, 'ip', 'link', 'set', 'lo', 'up')
  return space
}

/** A namespace with an interface wan0 on the bridge of `outer`. */
function attach(outer: string, name: string, address: string): string {
  const space = makeSpace(name)
  const link = `v${name}`
  inside(outer, 'ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'wan0', 'netns', space)
  inside(outer, 'ip', 'link', 'set', link, 'master', 'br0', 'up')
  // As hosts of many clouds have it: nobody else is of its own network.
  inside(space, 'ip', 'address', 'add', `${address}/32`, 'dev', 'wan0')
  inside(space, 'ip', 'link', 'set', 'wan0', 'up')
  inside(space, 'ip', 'route', 'add', '10.90.0.0/24', 'dev', 'wan0')
  return space
}

/** One agent in each kind of network. */
async function startSide(
  base: string,
  outer: string,
  side: string,
  first: number,
  config: string,
): Promise<Host[]> {
  const hosts: Host[] = []
  for (const [i, { nat }] of KINDS.entries()) {
    const name = `${side}${i}`
    const address = `10.90.0.${first + i}`
    const space = nat
      ? behind(attach(outer, `r${name}`, address), name, first + i, nat)
      : attach(outer, name, address)
    const told = nat?.forwards ? `announce = ["/ip4/${address}/tcp/4001"]\ndata_host = "${address}"\n` : ''
    hosts.push(await startHost(base, name, space, config + told))
  }
  return hosts
}

/** A namespace whose only way out is the router in `router`, which hides it. */
function behind(router: string, name: string, number: number, nat: NonNullable<Kind['nat']>): string {
  const space = makeSpace(name)
  const lan = `192.168.${number}`
  inside(router, 'ip', 'link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space)
  inside(router, 'ip', 'address', 'add', `${lan}.1/24`, 'dev', 'lan0')
  inside(router, 'ip', 'link', 'set', 'lan0', 'up')
  inside(space, 'ip', 'address', 'add', `${lan}.2/24`, 'dev', 'eth0')
  inside(space, 'ip', 'link', 'set', 'eth0', 'up')
  inside(space, 'ip', 'route', 'add', 'default', 'via', `${lan}.1`)
  inside(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
  const rules = `
    table ip lab {
      chain out { type nat hook postrouting priority 100; oifname "wan0" ${nat.masquerade}; }
      chain in { type nat hook prerouting priority -100;
        ${nat.forwards ? `iifname "wan0" tcp dport { 4001, 4002 } dnat to ${lan}.2;` : ''} }
      chain through { type filter hook forward priority 0; policy drop;
        ${nat.dropsUdp ? 'meta l4proto udp drop;' : ''}
        ct state established,related accept; ct status dnat accept; iifname "lan0" accept; }
      chain own { type filter hook input priority 0; policy drop; iifname "lan0" accept; }
    }`
  execFileSync('ip', ['netns', 'exec', router, 'nft', '-f', '-'], { input: rules, stdio: 'pipe', env })
  return space
}

/** An agent in a namespace; its control socket is a file, so that it is asked from here. */
async function startHost(base: string, name: string, space: string, config: string): Promise<Host> {
  const home = await initHome(join(base, name), { name })
  await writeFile(home.config, `${config}${await readFile(home.config, 'utf8')}`)
  const agent = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    PROGRAM,
    '--home',
    home.path,
    'agent',
  ]
  const child = spawn('ip', ['netns', 'exec', space, ...agent, '--json', '--no-mdns'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const ended = once(child, 'exit')
  stack.defer(async () => {
    child.kill('SIGKILL')
    await ended
  })
  await Promise.race([once(createInterface(child.stdout), 'line'), ended])
  return { home: home.path, name }
}

async function pair(host: Host, issuer: Host): Promise<void> {
  await using there = await connectAgent(issuer.home)
  await using here = await connectAgent(host.home)
  const { ticket } = await there.pairTicket({ expiresMs: 600_000, uses: 1, approve: 'auto' })
  await here.pairRedeem({ ticket, name: issuer.name })
}

/** Pairs the two and moves a small volume from one to the other: how it went. */
async function cell(source: Host, target: Host): Promise<string> {
  const destination = `from-${source.name}.raw`
  const path = join(source.home, '..', `${source.name}-${target.name}.raw`)
  await writeFile(path, noise(4 * MiB, 1))
  await using here = await connectAgent(source.home)
  const deadline = performance.now() + CELL_MS
  for (;;) {
    const paired = await pair(source, target).then(
      () => true,
      () => false,
    )
    if (paired) break
    if (performance.now() > deadline) return 'not paired'
    // A place at the relay may not be taken yet.
    await delay(1000)
  }
  const { job } = await here.move({ source: path, peer: target.name, destination })
  while (performance.now() < deadline) {
    const report = (await here.jobs()).find((each) => each.job === job)
    if (report?.state === 'complete') {
      const { peers } = await here.status()
      return `${report.path} / ${peers.find(({ name }) => name === target.name)?.reached ?? 'gone'}`
    }
    if (report?.error?.code === 'NO_PATH') {
      await here.cancel({ job })
      return 'no path'
    }
    await delay(POLL_MS)
  }
  await here.cancel({ job })
  return 'no end'
}
