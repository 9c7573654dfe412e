/** What peers found when they tried to reach this agent, and what follows from it. Pure. */
import { MAX_REACH_PEERS, REACH_AGREEING_PEERS, REACH_VALID_MS } from '../../protocol/limits.ts'
import { hostPort } from '../mesh/addresses.ts'

/** The two ports of an agent: the mesh, and the data of volumes. */
export type ReachPort = 'mesh' | 'data'

/** What one peer found. */
export interface Finding {
  /** The address of this agent as the peer saw it. */
  readonly host: string
  /** Outer ports that were asked for. */
  readonly ports: Readonly<Record<ReachPort, number>>
  /** Whether the peer arrived there; undefined: it was not tried. */
  readonly arrived: Readonly<Partial<Record<ReachPort, boolean>>>
  /** Of performance.now(), ms. */
  readonly at: number
}

/** Can this agent be reached from outside, as far as its peers found. */
export interface ReachVerdict {
  readonly state: 'yes' | 'no' | 'unknown'
  /** Peers that tried. */
  readonly asked: number
  /** `host:port` where they tried; one that answers first. */
  readonly at?: string
}

export interface Verdicts {
  note(peer: string, finding: Finding): void
  /** When that peer found something last, of performance.now(). */
  foundAt(peer: string): number | undefined
  /** Forgets what was found: the ports are others now. */
  clear(): void
  verdict(port: ReachPort): ReachVerdict
  /** `host:port` that so many peers tried in vain that it is not worth telling. */
  dead(port: ReachPort): ReadonlySet<string>
  /** `host:port` where so many peers arrived that it is worth telling, or one, if the host is known to be this agent's. */
  alive(port: ReachPort, isOwn: (host: string) => boolean): ReadonlySet<string>
}

export function createVerdicts(now: () => number = () => performance.now()): Verdicts {
  /** By peer, the oldest first. */
  const findings = new Map<string, Finding>()

  /** How many peers arrived, and how many did not, at each address. */
  function tally(port: ReachPort): Map<string, { yes: number; no: number }> {
    const counts = new Map<string, { yes: number; no: number }>()
    for (const [peer, finding] of findings) {
      if (now() - finding.at > REACH_VALID_MS) findings.delete(peer)
      const arrived = finding.arrived[port]
      if (arrived === undefined || !findings.has(peer)) continue
      const address = hostPort(finding.host, finding.ports[port])
      const count = counts.get(address) ?? { yes: 0, no: 0 }
      counts.set(address, count)
      if (arrived) count.yes++
      else count.no++
    }
    return counts
  }

  const those = (port: ReachPort, wanted: (count: { yes: number; no: number }, host: string) => boolean) =>
    new Set([...tally(port)].filter(([address, count]) => wanted(count, hostIn(address))).map(([at]) => at))

  return {
    note(peer, finding) {
      findings.delete(peer)
      findings.set(peer, finding)
      if (findings.size > MAX_REACH_PEERS) findings.delete(findings.keys().next().value!)
    },
    foundAt: (peer) => findings.get(peer)?.at,
    clear: () => findings.clear(),
    verdict(port) {
      const counts = [...tally(port)].toSorted(([, a], [, b]) => b.yes - a.yes)
      const asked = counts.reduce((sum, [, { yes, no }]) => sum + yes + no, 0)
      if (asked === 0) return { state: 'unknown', asked }
      const [at, { yes }] = counts[0]
      return { state: yes > 0 ? 'yes' : 'no', asked, at }
    },
    // One peer alone may lie, or stand behind a firewall of its own.
    dead: (port) => those(port, ({ yes, no }) => yes === 0 && no >= REACH_AGREEING_PEERS),
    alive: (port, isOwn) =>
      those(port, ({ yes }, host) => yes >= REACH_AGREEING_PEERS || (yes > 0 && isOwn(host))),
  }
}

function hostIn(address: string): string {
  return address.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '')
}
