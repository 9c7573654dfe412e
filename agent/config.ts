/** config.toml and command-line flags, as one validated object. Unknown keys are refused with the nearest known one. */
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import { DEFAULT_MIGRATORS_FOLDER, type MigratorsConfig, readMigrators } from './conduit/migrators-config.ts'
import { FluidError } from '../protocol/errors.ts'
import { DEFAULT_LANES, MAX_ADDRESSES, MAX_JOBS_RUNNING, MAX_LANES } from '../protocol/limits.ts'
import { DEFAULT_FILE_MODE } from '../transfer/destination.ts'
import { type CloudsConfig, readClouds } from './clouds/cloud-config.ts'
import { isPeerName } from './mesh/peer-name.ts'
import { boolean, integer } from './toml-readers.ts'
import { parseToml, type Reader, readKey as read, readSection, refuseUnknown, Wanted } from './toml-table.ts'
import type { RelayQuota } from './mesh/relay.ts'
import { parseDuration, parseRate, parseSize } from './units.ts'

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug', 'trace'] as const

/** Everything the agent can be told; every default filled in. */
export interface Config {
  readonly name: string
  /** Multiaddrs the mesh listens on. */
  readonly listen: readonly string[]
  /** Multiaddrs told to others instead of those found on the interfaces; empty: those found. */
  readonly announce: readonly string[]
  /** 0: any free port. */
  readonly dataPort: number
  /** Host or address told to peers for the data port, with `:port` where a forwarded port differs; undefined: those of the interfaces. */
  readonly dataHost?: string
  /** True to have the router forward the two ports, by UPnP or NAT-PMP. */
  readonly portMapping: boolean
  /** True to connect by WebRTC too, over UDP. */
  readonly webrtc: boolean
  /** UDP port at which a relay with WebRTC tells peers their address; 0: any free one. */
  readonly stunPort: number
  readonly mdns: boolean
  readonly bootstrap: readonly string[]
  /** Brokers to publish to and to ask, multiaddrs; empty: first contacts and those the directory tells of. */
  readonly brokers: readonly string[]
  /** True to be found by peer ID alone, and to let strangers ask this agent where others are. */
  readonly directory: boolean
  /** True to carry connections between agents that cannot reach each other. */
  readonly relay: boolean
  /** Who may use this relay. */
  readonly relayFor: 'paired' | 'all'
  readonly relayQuota: RelayQuota
  /** Relays through which this agent can be reached, multiaddrs. */
  readonly relays: readonly string[]
  /** Whose relays are used besides: those of paired peers, or any that the directory tells of. */
  readonly relaysFrom: 'paired' | 'directory'
  /** False: data never passes a relay, only control streams do. */
  readonly allowRelay: boolean
  /** False: strangers get in by ticket only, and not past the handshake while none is outstanding. */
  readonly pairingRequests: boolean
  /** Permission bits of files that arrived. */
  readonly fileMode: number
  readonly limits: {
    readonly jobs: number
    readonly lanes: number
    /** Bytes a second, all jobs together; undefined: no limit. */
    readonly bandwidth?: number
  }
  readonly log: { readonly level: (typeof LOG_LEVELS)[number] }
  /** Clouds whose machines may leave and arrive; none by default. */
  readonly clouds: CloudsConfig
  readonly migrators: MigratorsConfig
}

/** What flags may say; each wins over the file. */
export interface ConfigFlags {
  readonly name?: string
  readonly listen?: readonly string[]
  readonly dataPort?: number
  readonly mdns?: boolean
  readonly bootstrap?: readonly string[]
  readonly directory?: boolean
  readonly logLevel?: string
}

export const DEFAULT_LISTEN = ['/ip4/0.0.0.0/tcp/4001', '/ip6/::/tcp/4001'] as const
export const DEFAULT_DATA_PORT = 4002
export const DEFAULT_STUN_PORT = 4003
const DEFAULT_RELAY_BYTES = 16 * 2 ** 30
const DEFAULT_RELAY_MS = 2 * 60 * 60_000
const DEFAULT_RESERVATIONS = 16

/** Reads the file, if there is one, and lays the flags over it. Throws CONFIG_INVALID. */
export async function loadConfig(path: string, flags: ConfigFlags = {}): Promise<Config> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return ''
    throw new FluidError('CONFIG_INVALID', `Reading ${path} failed`, { cause })
  })
  return parseConfig(text, flags)
}

/** The configuration in `text` (TOML) under `flags`. Throws CONFIG_INVALID. */
export function parseConfig(text: string, flags: ConfigFlags = {}): Config {
  const table = parseToml(text)
  const { limits = {}, log = {}, relay_quota = {}, clouds = {}, migrators = {}, ...top } = table
  refuseUnknown(top, [...TOP_KEYS, 'limits', 'log', 'relay_quota', 'clouds', 'migrators'])
  const limit = readSection(limits, 'limits', LIMIT_KEYS)
  const logging = readSection(log, 'log', LOG_KEYS)
  const quota = readSection(relay_quota, 'relay_quota', QUOTA_KEYS)
  const from = (key: (typeof TOP_KEYS)[number], flag?: unknown) => flag ?? top[key]
  const relayBytes = read(quota.bytes, 'relay_quota.bytes', units(parseSize), DEFAULT_RELAY_BYTES)
  const bootstrap = read(from('bootstrap', flags.bootstrap), 'bootstrap', contacts, [])

  return {
    name: read(from('name', flags.name), 'name', peerName, 'fluidcloud'),
    listen: read(from('listen', flags.listen), 'listen', multiaddrs, [...DEFAULT_LISTEN]),
    announce: read(from('announce'), 'announce', multiaddrs, []),
    dataPort: read(from('data_port', flags.dataPort), 'data_port', integer(0, 65_535), DEFAULT_DATA_PORT),
    dataHost: read(from('data_host'), 'data_host', host, undefined),
    portMapping: read(from('port_mapping'), 'port_mapping', boolean, false),
    webrtc: read(from('webrtc'), 'webrtc', boolean, false),
    stunPort: read(from('stun_port'), 'stun_port', integer(0, 65_535), DEFAULT_STUN_PORT),
    mdns: read(from('mdns', flags.mdns), 'mdns', boolean, true),
    bootstrap,
    brokers: read(from('brokers'), 'brokers', contacts, []),
    directory: read(from('directory', flags.directory), 'directory', boolean, bootstrap.length > 0),
    relay: read(from('relay'), 'relay', boolean, false),
    relayFor: read(from('relay_for'), 'relay_for', relayFor, 'paired'),
    relayQuota: {
      bytes: relayBytes,
      peerBytes: read(quota.peer_bytes, 'relay_quota.peer_bytes', units(parseSize), relayBytes / 4),
      timeMs: read(quota.time, 'relay_quota.time', units(parseDuration), DEFAULT_RELAY_MS),
      reservations: read(
        quota.reservations,
        'relay_quota.reservations',
        integer(1, 1024),
        DEFAULT_RESERVATIONS,
      ),
    },
    relays: read(from('relays'), 'relays', contacts, []),
    relaysFrom: read(from('relays_from'), 'relays_from', relaysFrom, 'paired'),
    allowRelay: read(from('allow_relay'), 'allow_relay', boolean, false),
    pairingRequests: read(from('pairing_requests'), 'pairing_requests', boolean, true),
    fileMode: read(from('file_mode'), 'file_mode', fileMode, DEFAULT_FILE_MODE),
    limits: {
      jobs: read(limit.jobs, 'limits.jobs', integer(1, 64), MAX_JOBS_RUNNING),
      lanes: read(limit.lanes, 'limits.lanes', integer(1, MAX_LANES), DEFAULT_LANES),
      bandwidth: read(limit.bandwidth, 'limits.bandwidth', units(parseRate), undefined),
    },
    log: { level: read(flags.logLevel ?? logging.level, 'log.level', level, 'info') },
    clouds: readClouds(clouds),
    migrators: readMigrators(migrators),
  }
}

/** The file `init` writes: every key, explained, at its default. */
export function sampleConfig(name: string): string {
  return `# FluidCloud agent. Every key is optional; a value after # is its default.

# What this agent calls itself to peers.
name = ${JSON.stringify(name)}

# Where the mesh listens (control traffic, a few KiB a second). Multiaddrs.
# listen = ${JSON.stringify(DEFAULT_LISTEN)}

# Multiaddrs told to others instead of those of the interfaces, for a machine behind a forwarded port.
# announce = []

# Port of the data connections (volumes, TLS). 0: any free port.
# data_port = ${DEFAULT_DATA_PORT}

# Host or address at which peers reach data_port, if it is not one of this machine's interfaces. With :port where the
# forwarded port is another.
# data_host = "agent.example.org"

# Have the router of this network forward the two ports, by UPnP or NAT-PMP, for as long as the agent runs.
# port_mapping = false

# Connect by WebRTC too, where UDP passes and TCP does not: the mesh then listens at the UDP ports of the same numbers.
# Both ends must. It is slow: data takes it only when no TCP connection can be made. Two agents that only a relay
# connects then punch holes for UDP through their NATs, too, if the relay has it as well.
# webrtc = false

# UDP port at which a relay with webrtc tells peers from where their packets come. 0: any free port.
# stun_port = ${DEFAULT_STUN_PORT}

# Find agents on the local network by multicast DNS. Finding is not trusting: they must still be paired.
# mdns = true

# First contacts, multiaddrs that end in /p2p/<peer ID>.
# bootstrap = []

# Brokers to publish offers to and to ask for matches, multiaddrs that end in /p2p/<peer ID>. Without any: first
# contacts, and those that the directory tells of.
# brokers = []

# Be found by peer ID alone, and find others so: the directory that agents keep together. Strangers may then ask this
# agent where others of the directory are, and learn its own addresses; nothing else. With first contacts: true.
# directory = false

# Carry connections between agents that cannot reach each other, which may read nothing of them. For paired peers, or
# "all". Within the quota below.
# relay = false
# relay_for = "paired"

# Relays through which this agent can be reached when nobody can dial it, multiaddrs that end in /p2p/<peer ID>, which
# alone suffices where the directory is served. Those of paired peers are used without being named. "directory": those of
# strangers too, at most two, if they relay for all; they see who connects, and can read nothing.
# relays = []
# relays_from = "paired"

# Let data of jobs pass a relay when nothing else connects. Both ends must. Without it, relays carry control streams.
# allow_relay = false

# Let strangers leave a request to be paired, for a person here to accept or reject. false: tickets only.
# pairing_requests = true

# Permissions of files that arrived, octal. "0640" and a granted folder with the setgid bit let the group of that
# folder read them: that of libvirt or qemu. "0660": write as well.
# file_mode = "0600"

[limits]
# Jobs that run at the same time; the others wait.
# jobs = ${MAX_JOBS_RUNNING}

# Data connections that a job begins with, nearby at most one a core. More are added: to a far peer while they bring
# more, nearby while there are cores for them.
# lanes = ${DEFAULT_LANES}

# Rate of all jobs together, such as "100MiB/s" or "1Gbit/s".
# bandwidth = "1Gbit/s"        # no limit

# Bytes in flight of all jobs together.

[relay_quota]
# What this agent carries for others in 24 hours, all together, and for one of them (both ends of a connection pay; a
# quarter of all unless it is said); how long one connection may last; and how many peers may be reached through here.
# bytes = "16GiB"
# peer_bytes = "4GiB"
# time = "2h"
# reservations = ${DEFAULT_RESERVATIONS}

[log]
# ${LOG_LEVELS.join(', ')}
# level = "info"

[migrators]
# Migrators of third parties: programs and npm packages in "folder", of which only those that "allow" names with their major
# version ever run. Peers may ask for one by name; deploy/config.toml says more.
# folder = "${DEFAULT_MIGRATORS_FOLDER}"
# allow = []
# Object stores on this very host, address:port, that peers may have this agent ask to prove that a service will reach them.
# stores = []

# Clouds of this host whose machines may leave and arrive. Those that are named here and no other; deploy/config.toml
# explains the keys.
#   [clouds.qemu]
#   machines = "/var/lib/fluidcloud/machines"
#   [clouds.libvirt]
#   uri = "qemu:///system"
#   images = "/var/lib/libvirt/images"
#   [clouds.local]
#   machines = "/var/lib/fluidcloud/services"
#   programs = ["/usr/local/bin/shop"]
`
}

const TOP_KEYS = [
  'name',
  'listen',
  'announce',
  'data_port',
  'data_host',
  'port_mapping',
  'webrtc',
  'stun_port',
  'mdns',
  'bootstrap',
  'brokers',
  'directory',
  'relay',
  'relay_for',
  'relays',
  'relays_from',
  'allow_relay',
  'pairing_requests',
  'file_mode',
] as const
const LIMIT_KEYS = ['jobs', 'lanes', 'bandwidth'] as const
const LOG_KEYS = ['level'] as const
const QUOTA_KEYS = ['bytes', 'peer_bytes', 'time', 'reservations'] as const

/** The owner reads and writes, nobody executes, and not everybody writes. */
const fileMode: Reader<number> = (value) =>
  typeof value === 'string' && /^0?6[046][04]$/.test(value)
    ? Number.parseInt(value, 8)
    : new Wanted('the permissions of a file, quoted and octal, such as "0600", "0640" or "0660"')

const peerName: Reader<string> = (value) =>
  typeof value === 'string' && isPeerName(value)
    ? value
    : new Wanted('a name: letters, digits, dots, dashes and underscores, at most 63')

const host: Reader<string> = (value) =>
  typeof value === 'string' && isHost(value)
    ? value
    : new Wanted('a host name or an IP address, and :port if need be')

function isHost(text: string): boolean {
  if (isIP(text) !== 0) return true
  const [, ip6, name, port] = /^(?:\[(.+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  if (port === undefined ? ip6 !== undefined : Number(port) < 1 || Number(port) > 65_535) return false
  if (ip6 !== undefined) return isIP(ip6) === 6
  return name !== undefined && (isIP(name) !== 0 || HOST_NAME.test(name))
}

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i

const multiaddrs: Reader<string[]> = (value) =>
  Array.isArray(value) && value.length <= MAX_ADDRESSES && value.every(isMultiaddr)
    ? value
    : new Wanted(`a list of at most ${MAX_ADDRESSES} multiaddrs such as ["/ip4/0.0.0.0/tcp/4001"]`)

const contacts: Reader<string[]> = (value) =>
  Array.isArray(value) && value.every((text) => isMultiaddr(text) && /\/p2p\/[^/]+$/.test(text))
    ? value
    : new Wanted('a list of multiaddrs that end in /p2p/<peer ID>')

const relayFor: Reader<Config['relayFor']> = (value) =>
  value === 'paired' || value === 'all' ? value : new Wanted('"paired" or "all"')

const relaysFrom: Reader<Config['relaysFrom']> = (value) =>
  value === 'paired' || value === 'directory' ? value : new Wanted('"paired" or "directory"')

const level: Reader<Config['log']['level']> = (value) =>
  LOG_LEVELS.find((name) => name === value) ?? new Wanted(`one of ${LOG_LEVELS.join(', ')}`)

function units(parser: (text: string) => number): Reader<number> {
  return (value) => {
    if (typeof value !== 'string') return new Wanted('a quoted amount with its unit, such as "100MiB"')
    try {
      return parser(value)
    } catch (error) {
      if (error instanceof FluidError) return new Wanted(`an amount with its unit (${error.hint})`)
      throw error
    }
  }
}

function isMultiaddr(text: unknown): text is string {
  try {
    return typeof text === 'string' && text.length > 1 && multiaddr(text) !== undefined
  } catch {
    return false
  }
}
