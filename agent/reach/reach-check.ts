/** Whether this agent can be reached, in words: for `status`, and as a check of `doctor`. */
import { multiaddr } from '@multiformats/multiaddr'
import type { CheckReport } from '../reports/agent-reports.ts'
import type { Config } from '../config.ts'
import { socketOf } from './own-addresses.ts'
import type { PortMappingReport } from './port-mapping.ts'
import type { ReachReport } from './reachability.ts'
import type { ReachVerdict } from './verdicts.ts'

/** `mesh yes, data no; asked 2 peers, at 203.0.113.5:4001 and 203.0.113.5:4002`. */
export function reachText({ mesh, data }: ReachReport): string {
  const asked = Math.max(mesh.asked, data.asked)
  const peers = `asked ${asked} ${asked === 1 ? 'peer' : 'peers'}`
  const at = [mesh.at, data.at].filter((address) => address !== undefined)
  const state = mesh.state === data.state ? mesh.state : `mesh ${mesh.state}, data ${data.state}`
  return at.length > 0 ? `${state}; ${peers}, at ${at.join(' and ')}` : `${state}; ${peers}`
}

/** Can peers of other networks reach this agent. `addrs` is what it tells others. */
export function checkReach(
  report: ReachReport,
  { config, addrs }: { config: Pick<Config, 'dataHost' | 'portMapping'>; addrs: readonly string[] },
): CheckReport {
  const name = 'reachable'
  const detail = reachText(report)
  const { mesh, data } = report
  // Nobody of another network was connected yet: nothing is wrong.
  if (mesh.state === 'unknown' && data.state === 'unknown') return { name, state: 'ok', detail }
  const ports = [portOf(mesh), portOf(data)].filter((port) => port !== undefined)
  if (mesh.state === 'no' || data.state === 'no') {
    const mapping = config.portMapping ? '' : ', or say port_mapping = true if it speaks UPnP or NAT-PMP'
    return {
      name,
      state: 'warn',
      detail,
      hint: `Forward TCP ${ports.join(' and ')} to this machine at the router or firewall${mapping}; without it, others must be reachable, or a relay`,
    }
  }
  const told = new Set(addrs.map((addr) => socketOf(multiaddr(addr))))
  if (mesh.at !== undefined && !told.has(mesh.at)) {
    const [, host, port] = /^\[?(.+?)\]?:(\d+)$/.exec(mesh.at)!
    const addr = `/${host.includes(':') ? 'ip6' : 'ip4'}/${host}/tcp/${port}`
    const alsoData = config.dataHost || data.at === undefined ? '' : ` and data_host = "${data.at}"`
    return {
      name,
      state: 'ok',
      detail: `${detail}; not told to others: announce = ["${addr}"]${alsoData} would`,
    }
  }
  return { name, state: 'ok', detail }
}

/** `forwards 203.0.113.5:4001 (mesh) and :4002 (data), by UPnP`. */
export function mappingText({ state, by, host, ports, reason }: PortMappingReport): string {
  if (state === 'looking') return 'is being asked'
  if (state === 'failed') return `forwards nothing: ${reason}`
  const list = Object.entries(ports ?? {}).map(([name, port]) => `:${port} (${name})`)
  return `forwards ${host}${list.join(' and ')}, by ${by}${reason ? `; ${reason}` : ''}`
}

/** Does the router do as it was asked. */
export function checkMapping(report: PortMappingReport): CheckReport {
  const name = 'router'
  const detail = mappingText(report)
  if (report.state !== 'failed' && report.reason === undefined) return { name, state: 'ok', detail }
  const hint =
    report.state === 'mapped'
      ? 'Ask the provider for a public address, or pair with a relay'
      : 'Switch UPnP or NAT-PMP on at the router, or forward the ports by hand, and set port_mapping = false'
  return { name, state: 'warn', detail, hint }
}

function portOf({ at, state }: ReachVerdict): string | undefined {
  return state === 'no' ? /\d+$/.exec(at ?? '')?.[0] : undefined
}
