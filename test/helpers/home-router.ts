/**
 * Two agents, one of them behind a home router: network namespaces, nftables, and a real miniupnpd, which forwards ports
 * by NAT-PMP or by UPnP. Needs root.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { initHome } from '../../agent/home.ts'
import { eventually } from './eventually.ts'
import { hasProgram } from './programs.ts'
import { tempDir } from './temp-dir.ts'

const PROGRAM = fileURLToPath(new URL('../../agent/main.ts', import.meta.url))
/** Not the program of that name which npm puts before it. */
const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }
const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { stdio: 'pipe', env }).toString()
const ip = (...args: string[]) => run('ip', ...args)

/** Chains that miniupnpd fills, and those around them. */
const RULES = `
  table inet filter {
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain forward { type filter hook forward priority 0; policy drop;
      jump miniupnpd; ct state established,related accept; iifname "lan0" accept; }
    chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 100;
      jump postrouting_miniupnpd; oifname "wan0" masquerade; }
  }`

/** The router's address outside: of nobody's private network, and seen by nobody but these namespaces. */
export const ROUTER = '11.22.33.1'

/** Why it cannot be had here, or undefined. It has to be asked for, since it takes a minute where links are slow to come up. */
export function noHomeRouter(): string | undefined {
  if (process.env.FLUIDCLOUD_TEST_ROUTER !== '1') return 'runs with FLUIDCLOUD_TEST_ROUTER=1'
  if (process.getuid?.() !== 0) return 'needs root'
  for (const program of ['ip', 'nft', 'miniupnpd']) if (!hasProgram(program)) return `needs ${program}`
  // The other build of it speaks to iptables.
  if (!existsSync('/etc/miniupnpd/nft_init.sh')) return 'needs miniupnpd-nftables'
  const space = `fc${process.pid}p`
  try {
    // Containers often may not.
    ip('netns', 'add', space)
    execFileSync('ip', ['netns', 'exec', space, 'nft', '-f', '-'], { input: RULES, stdio: 'pipe', env })
    return undefined
  } catch {
    return 'makes no network namespaces, or no NAT in them'
  } finally {
    spawnSync('ip', ['netns', 'del', space], { env })
  }
}

export interface HomeRouter {
  /** Starts an agent inside, behind the router, or outside; resolves when it is ready. Its socket is in `home`. */
  agent(where: 'inside' | 'outside', config: string): Promise<{ home: string; process: ChildProcess }>
  /** The port of each mapping that the router has, in order. */
  mappings(): number[]
}

/** Everything is gone when the test ends. */
export async function homeRouter(
  t: ExecutionContext,
  speaks: { natPmp: boolean; upnp: boolean },
): Promise<HomeRouter> {
  const folder = await tempDir(t)
  const [router, inside, outside] = ['r', 'i', 'o'].map((name) => makeSpace(t, name))
  connectSpaces([router, 'lan0', '192.168.77.1'], [inside, 'eth0', '192.168.77.2'])
  connectSpaces([router, 'wan0', ROUTER], [outside, 'eth0', '11.22.33.2'])
  within(inside, 'ip', 'route', 'add', 'default', 'via', '192.168.77.1')
  within(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
  execFileSync('ip', ['netns', 'exec', router, 'nft', '-f', '-'], { input: RULES, stdio: 'pipe', env })
  const config = join(folder, 'miniupnpd.conf')
  await writeFile(
    config,
    [
      'ext_ifname=wan0',
      'listening_ip=lan0',
      `enable_natpmp=${speaks.natPmp ? 'yes' : 'no'}`,
      `enable_upnp=${speaks.upnp ? 'yes' : 'no'}`,
      'secure_mode=yes',
      'min_lifetime=120',
      'uuid=7c7aba1f-3824-4c0a-8b14-6da7c4957347',
      'upnp_table_name=filter',
      'upnp_nat_table_name=filter',
      'upnp_forward_chain=miniupnpd',
      'upnp_nat_chain=prerouting_miniupnpd',
      'upnp_nat_postrouting_chain=postrouting_miniupnpd',
      'allow 1024-65535 192.168.77.0/24 1024-65535',
      'deny 0-65535 0.0.0.0/0 0-65535',
      '',
    ].join('\n'),
  )
  const pid = join(folder, 'miniupnpd.pid')
  start(t, router, ['miniupnpd', '-d', '-f', config, '-P', pid])
  // NAT-PMP, or the search for UPnP.
  const port = speaks.natPmp ? 5351 : 1900
  await eventually(() => within(router, 'ss', '-Hlun').includes(`:${port} `) || undefined)

  return {
    async agent(where, keys) {
      const home = await initHome(join(folder, where), { name: where })
      await writeFile(home.config, `${keys}\n${await readFile(home.config, 'utf8')}`)
      const child = start(t, where === 'inside' ? inside : outside, [
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        PROGRAM,
        '--home',
        home.path,
        'agent',
        '--json',
        '--no-mdns',
      ])
      await Promise.race([once(createInterface(child.stdout!), 'line'), once(child, 'exit')])
      return { home: home.path, process: child }
    },
    mappings: () =>
      [
        ...within(router, 'nft', 'list', 'chain', 'inet', 'filter', 'prerouting_miniupnpd').matchAll(
          /dport (\d+)/g,
        ),
      ]
        .map(([, port]) => Number(port))
        .toSorted((a, b) => a - b),
  }
}

function makeSpace(t: ExecutionContext, name: string): string {
  const space = `fc${process.pid}${name}`
  ip('netns', 'add', space)
  t.teardown(() => ip('netns', 'del', space))
  within(space, 'ip', 'link', 'set', 'lo', 'up')
  return space
}

function within(space: string, ...command: string[]): string {
  return ip('netns', 'exec', space, ...command)
}

/** A line between two namespaces, of one network of 24 bits. */
function connectSpaces(...ends: [[string, string, string], [string, string, string]]): void {
  const [[from, link], [to, other]] = ends
  within(from, 'ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', other, 'netns', to)
  for (const [space, name, address] of ends) {
    within(space, 'ip', 'address', 'add', `${address}/24`, 'dev', name)
    within(space, 'ip', 'link', 'set', name, 'up')
  }
}

/** A process in a namespace, which ends with the test. */
function start(t: ExecutionContext, space: string, command: string[]): ChildProcess {
  const child = spawn('ip', ['netns', 'exec', space, ...command], { stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = once(child, 'exit')
  child.stdout.resume()
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return child
}
