/** The agent and its peers as a person reads them: status, peers, grants, seeds, benchmarks, checks. */
import { formatBytes, formatDuration, formatRate } from '../units.ts'
import type { BenchReport, CheckReport, IdReport, StatusReport } from '../reports/agent-reports.ts'
import type { GrantReport, PeerReport, PendingReport, SeedReport } from '../reports/peer-reports.ts'
import { mappingText, reachText } from '../reach/reach-check.ts'
import { formatJobs } from './job-text.ts'
import { isFinished } from './progress.ts'
import type { Style } from './style.ts'
import { formatFields, formatTable } from './table.ts'
import { count, printable } from './text.ts'

/** `status`: one screen. */
export function formatStatus(status: StatusReport, style: Style, columns?: number): string {
  const { symbols } = style
  // Who looks whether the data port answers, as the peer of every job does, and hangs up, was refused nothing.
  const { 'socket-closed': _, ...refused } = status.refused
  const running = status.jobs.filter((job) => !isFinished(job))
  const up = formatDuration(status.uptimeSeconds * 1000)
  const head = `${style.green(symbols.live)} ${style.bold(printable(status.name))} runs (version ${status.version}, pid ${status.pid}, ${up}, ${formatBytes(status.rssBytes)} of memory)\n`
  return [
    head +
      formatIdentity(status, style, [
        ['home', status.home],
        [
          'relays',
          status.relay &&
            `${count(status.relay.reservations, 'place')}, ${count(status.relay.connections, 'connection')}, ${formatBytes(status.relay.bytes)} of ${formatBytes(status.relay.quotaBytes)} today, at most ${formatBytes(status.relay.peerQuotaBytes)} a peer${status.relay.spentBy.length > 0 ? `; used up by ${status.relay.spentBy.join(', ')}` : ''}`,
        ],
        ['reachable', status.reachable && reachText(status.reachable)],
        ['router', status.portMapping && mappingText(status.portMapping)],
        ['reached', relaysOf(status)],
        ['directory', status.directory && `knows ${count(status.directory.agents, 'agent')}`],
        ...brokerFields(status.broker, style),
        ['refused', counted(refused, style)],
      ]),
    heading('Peers', style) + formatPeers(status.peers, style, columns),
    heading('Jobs', style) +
      (running.length > 0
        ? formatJobs(running, style, columns)
        : `${style.dim(status.jobs.length > 0 ? `None running; ${status.jobs.length} finished: fluidcloud jobs` : 'None')}\n`),
  ].join('\n')
}

/** Relays that hold a place for this agent. */
function relaysOf({ reachedThrough, strangersRelays = [] }: StatusReport): string | undefined {
  const all = reachedThrough?.map((peer) =>
    strangersRelays.includes(peer) ? `${peer} (a stranger's, from the directory)` : peer,
  )
  return all && `through ${all.join(', ')}`
}

/** A broker of this process, if there is one. */
function brokerFields(broker: StatusReport['broker'], style: Style): [string, string | undefined][] {
  if (!broker) return []
  const { offers, neighbours, refused } = broker
  const others = neighbours.length > 0 ? `, as ${count(neighbours.length, 'other broker')} does` : ''
  return [
    ['broker', `holds ${count(offers, 'offer')}${others}`],
    ['refused offers', counted(refused, style)],
  ]
}

/** Kinds that occurred, and how often; undefined when none did. */
function counted(counts: Readonly<Record<string, number>>, { symbols }: Style): string | undefined {
  const some = Object.entries(counts).filter(([, times]) => times > 0)
  return some.map(([kind, times]) => `${kind} ${symbols.times}${times}`).join(', ') || undefined
}

/** `id`: peer ID and addresses. */
export function formatIdentity(
  id: IdReport,
  style: Style,
  more: readonly (readonly [string, string | undefined])[] = [],
): string {
  const list = (label: string, values: readonly string[]) =>
    values.map((value, index) => [index === 0 ? label : '', printable(value)] as const)
  return formatFields(
    [['peer ID', style.cyan(id.peerId)], ...list('mesh', id.addrs), ...list('data', id.dataAddrs), ...more],
    style,
  )
}

/** `pair list`: who is paired, how each is reached, what each may do. */
export function formatPeers(peers: readonly PeerReport[], style: Style, columns?: number): string {
  if (peers.length === 0) return `${style.dim('Nobody is paired; see fluidcloud pair --help')}\n`
  return formatTable(
    [
      { title: 'PEER' },
      { title: 'REACHED', flexible: true },
      { title: 'MAY DO HERE', flexible: true },
      { title: 'WE MAY DO THERE', flexible: true },
      { title: 'PEER ID', flexible: true },
    ],
    peers.map((peer) => [
      { text: peer.name, paint: style.bold },
      peer.connected
        ? { text: reachedBy(peer), paint: peer.reached === 'relay' ? style.yellow : style.green }
        : { text: 'not connected', paint: style.dim },
      describeGrant(peer.grant),
      describeGranted(peer.granted),
      peer.peer,
    ]),
    { style, columns },
  )
}

function reachedBy({ addrs, reached, remoteAddr = addrs.at(0) }: PeerReport): string {
  if (reached === 'relay') return `relay ${remoteAddr?.replace(/\/p2p-circuit.*$/, '') ?? ''}`
  // Which certificate it was is nothing to read.
  return remoteAddr ? remoteAddr.replace(/\/(certhash|p2p)\/[^/]+/g, '') : 'connected'
}

/** What a grant allows, in a few words. */
export function describeGrant(grant: GrantReport | undefined): string {
  if (!grant) return 'nothing'
  const limit = grant.maxBytes > 0 ? `, at most ${formatBytes(grant.maxBytes)}` : ''
  const targets = Object.keys(grant.targets)
  const devices = targets.length > 0 ? `, ${targets.join(', ')}` : ''
  const services = grant.relocate ? `, relocate services (${describeRelocate(grant.relocate)})` : ''
  return `write into ${grant.folder}${limit}${devices}${services}${grant.approve === 'ask' ? ', asks first' : ''}`
}

function describeRelocate(grant: NonNullable<GrantReport['relocate']>): string {
  const { cloud, maxVcpus, maxMemoryBytes, maxMachines, networks, forwards, migrators } = grant
  return [
    `${cloud} cloud`,
    maxMachines > 0 && `${maxMachines} machines`,
    maxVcpus > 0 && `${maxVcpus} processors`,
    maxMemoryBytes > 0 && formatBytes(maxMemoryBytes),
    `networks ${networks.join(', ') || 'none'}`,
    forwards === 'any' && 'ports of any address',
    migrators && `Migrators ${migrators.join(', ') || 'none'}`,
  ]
    .filter((part) => part !== false && part !== undefined)
    .join('; ')
}

function describeGranted(granted: PeerReport['granted']): string {
  if (!granted?.write) return 'nothing'
  return `write${granted.maxBytes > 0 ? `, at most ${formatBytes(granted.maxBytes)}` : ''}${granted.ask ? ', asks first' : ''}`
}

/** `pair pending`. */
export function formatPending(pending: readonly PendingReport[], style: Style, columns?: number): string {
  if (pending.length === 0) return `${style.dim('No requests')}\n`
  return formatTable(
    [
      { title: 'PEER ID', flexible: true },
      { title: 'NAME', flexible: true },
      { title: 'DIRECTION' },
      { title: 'SINCE' },
    ],
    pending.map((request) => [
      request.peer,
      request.name,
      request.direction === 'in' ? 'asks us' : 'we asked',
      request.since,
    ]),
    { style, columns },
  )
}

/** `policy show`: each peer's grant in full. */
export function formatPolicy(
  peers: readonly PeerReport[],
  seeds: readonly SeedReport[],
  style: Style,
  columns?: number,
): string {
  const grants = peers.map(({ name, peer, grant }) => {
    const title = `${style.bold(printable(name))}  ${style.dim(peer)}\n`
    if (!grant) return `${title}  ${style.dim('may do nothing here')}\n`
    const targets = Object.entries(grant.targets).map(
      ([target, device]) => ['target', printable(`${target} = ${device}`)] as const,
    )
    return (
      title +
      formatFields(
        [
          ['folder', printable(grant.folder)],
          [
            'size',
            grant.maxBytes > 0 ? `at most ${formatBytes(grant.maxBytes)} a volume` : 'no limit but the disk',
          ],
          ['approve', grant.approve === 'auto' ? 'by itself' : 'asks for each job'],
          ['relocate', grant.relocate && printable(describeRelocate(grant.relocate))],
          ...targets,
        ],
        style,
      )
    )
  })
  const shown =
    grants.length > 0 ? grants.join('\n') : `${style.dim('Nobody is paired: nobody may do anything')}\n`
  return seeds.length > 0
    ? `${shown}\n${heading('Seeds', style)}${formatSeeds(seeds, style, columns)}`
    : shown
}

/** `policy seed list`. */
export function formatSeeds(seeds: readonly SeedReport[], style: Style, columns?: number): string {
  if (seeds.length === 0) return `${style.dim('No seed folders')}\n`
  return formatTable(
    [
      { title: 'FOLDER', flexible: true },
      { title: 'FILES', align: 'right' },
      { title: 'CHUNKS', align: 'right' },
      { title: 'BYTES', align: 'right' },
      { title: 'STATE' },
    ],
    seeds.map((seed) => [
      seed.folder,
      String(seed.files),
      String(seed.chunks),
      formatBytes(seed.bytes),
      { text: seed.state, paint: seed.state === 'ready' ? style.green : style.yellow },
    ]),
    { style, columns },
  )
}

/** `bench`. */
export function formatBench(bench: BenchReport, style: Style): string {
  return `${style.bold(formatRate(bench.bytesPerSecond))} to ${printable(bench.peer)}\n${formatFields(
    [
      ['sent', `${formatBytes(bench.bytes)} in ${formatDuration(bench.seconds * 1000)}`],
      ['round trip', `${bench.roundTripMs.toFixed(bench.roundTripMs < 10 ? 2 : 0)} ms`],
      ['path', `${bench.path}, ${count(bench.lanes, 'lane')}`],
      ['CPU here', `${bench.cpuSecondsPerGiB.toFixed(2)} s/GiB`],
      [
        'CPU there',
        bench.peerCpuSecondsPerGiB === undefined
          ? 'the peer does not tell'
          : `${bench.peerCpuSecondsPerGiB.toFixed(2)} s/GiB`,
      ],
    ],
    style,
  )}`
}

/** `doctor`: one line a check, hints below those that need them, and the count. */
export function formatChecks(checks: readonly CheckReport[], style: Style): string {
  const { symbols } = style
  const marks = {
    ok: style.green(symbols.ok),
    warn: style.yellow(symbols.warn),
    fail: style.red(symbols.fail),
  }
  const width = Math.max(...checks.map(({ name }) => name.length))
  const lines = checks.map(({ name, state, detail, hint }) => {
    const line = `${marks[state]} ${printable(name).padEnd(width)}  ${printable(detail)}\n`
    return hint && state !== 'ok'
      ? `${line}  ${' '.repeat(width)}  ${style.dim('hint')}  ${printable(hint)}\n`
      : line
  })
  const failed = checks.filter(({ state }) => state === 'fail').length
  const warned = checks.filter(({ state }) => state === 'warn').length
  const verdict =
    failed > 0 ? style.red(`${count(failed, 'problem')} found`) : style.green('No problem found')
  return `${lines.join('')}\n${verdict}${warned > 0 ? `, ${count(warned, 'remark')}` : ''}\n`
}

function heading(text: string, style: Style): string {
  return `${style.bold(text)}\n`
}
