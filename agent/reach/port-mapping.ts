/**
 * Has the router of this network forward the agent's two ports for as long as the agent runs: by NAT-PMP, else by UPnP.
 * Leases are short and renewed, so a router forgets an agent that was killed.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { isPrivate } from '../mesh/addresses.ts'
import type { Forwarder } from './forwarder.ts'
import { defaultGateway } from './gateway.ts'
import { natPmp } from './nat-pmp.ts'
import type { OuterPorts } from './reachability.ts'
import { findUpnp } from './upnp.ts'
import type { ReachPort } from './verdicts.ts'

/** What a router is asked for, and how often: one that was switched off forgets. */
const LIFETIME_S = 3600
const RENEW_MS = 10 * 60_000
/** Until it is tried again after a failure; and while there is no network yet, which costs nothing to find out. */
const RETRY_MS = 60_000
const NETWORK_RETRY_MS = 2_000
/** Most time for one kind of router to answer, and for all requests of one round; at the end, to be rid of them. */
const FIND_MS = 3_000
const ROUND_MS = 10_000
const REMOVE_MS = 2_000

/** For `status` and `doctor`. */
export interface PortMappingReport {
  readonly state: 'looking' | 'mapped' | 'failed'
  readonly by?: Forwarder['kind']
  /** The router's address outside, and its ports. */
  readonly host?: string
  readonly ports?: Readonly<Partial<Record<ReachPort, number>>>
  /** Why it failed, or is of no use. */
  readonly reason?: string
}

export interface PortMapping extends AsyncDisposable {
  report(): PortMappingReport
  /** Resolves when the router was asked for the first time. */
  readonly asked: Promise<void>
}

export interface PortMappingParts {
  /** Ports of this host, 0: none to be forwarded. Asked each round: interfaces come and go, also while an agent starts. */
  readonly ports: () => Readonly<Record<ReachPort, number>>
  /** What is forwarded from now on, if it is of use. */
  readonly onChange: (outer: OuterPorts | undefined) => void
  /** The routers that are asked, first to last; those of the default gateway unless given. */
  readonly find?: (signal: AbortSignal) => Promise<Forwarder>
  /** For tests, whose routers have no public address. */
  readonly isUseful?: (host: string) => boolean
}

/** Asks at once, and goes on until it is disposed, which removes what was forwarded. */
export function openPortMapping(parts: PortMappingParts): PortMapping {
  const { onChange, find = findForwarder, isUseful = (host) => !isPrivate(host) } = parts
  const closing = new AbortController()
  const first = Promise.withResolvers<void>()
  /** What a router forwards: the port of this host, and the router's. */
  const held = new Map<ReachPort, { readonly inner: number; readonly outer: number }>()
  let forwarder: Forwarder | undefined
  /** The last one that forwarded something. */
  let holder: Forwarder | undefined
  let report: PortMappingReport = { state: 'looking' }

  async function round(): Promise<PortMappingReport> {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(ROUND_MS)])
    const ports = parts.ports()
    const wanted = (['mesh', 'data'] as const).filter((name) => ports[name] > 0)
    if (wanted.length === 0) throw new NoNetwork('the agent listens on this machine only')
    forwarder ??= await find(signal)
    const host = await forwarder.externalHost(signal)
    if (host.startsWith('0.')) throw new Error('the router has no address outside')
    for (const name of wanted) {
      const inner = ports[name]
      const { outer } = await forwarder.forward(inner, held.get(name)?.outer ?? inner, LIFETIME_S, signal)
      held.set(name, { inner, outer })
      holder = forwarder
    }
    const outer = Object.fromEntries([...held].map(([name, each]) => [name, each.outer]))
    const mapped = { state: 'mapped', by: forwarder.kind, host, ports: outer } as const
    if (isUseful(host)) return mapped
    return { ...mapped, reason: `another NAT lies before the router, whose own address ${host} is private` }
  }

  async function goOn(): Promise<void> {
    while (!closing.signal.aborted) {
      const before = JSON.stringify(report)
      let waitMs = RENEW_MS
      report = await round().catch((error: Error) => {
        waitMs = error instanceof NoNetwork ? NETWORK_RETRY_MS : RETRY_MS
        // Another router may be there by now.
        forwarder = undefined
        return { state: 'failed', reason: reasonOf(error) }
      })
      if (closing.signal.aborted) return
      const { state, host, reason } = report
      if (JSON.stringify(report) !== before)
        onChange(state === 'mapped' && host && !reason ? { host, ports: report.ports! } : undefined)
      first.resolve()
      await delay(waitMs, undefined, { signal: closing.signal, ref: false })
    }
  }

  const going = goOn().catch(() => {})
  return {
    report: () => report,
    asked: first.promise,
    async [Symbol.asyncDispose]() {
      if (closing.signal.aborted) return
      closing.abort(new Error('The agent is stopping'))
      first.resolve()
      await going
      const signal = AbortSignal.timeout(REMOVE_MS)
      const last = holder
      if (last)
        await Promise.allSettled(
          [...held.values()].map(({ inner, outer }) => last.remove(inner, outer, signal)),
        )
    },
  }
}

/** Nobody could be asked. */
class NoNetwork extends Error {}

/** The default gateway, by whichever of the two it speaks. */
async function findForwarder(signal: AbortSignal): Promise<Forwarder> {
  const gateway = await defaultGateway()
  if (gateway === undefined) throw new NoNetwork('this host has no default gateway')
  const within = () => AbortSignal.any([signal, AbortSignal.timeout(FIND_MS)])
  const pmp = natPmp(gateway)
  const answers = await pmp.externalHost(within()).then(
    () => true,
    () => false,
  )
  return answers ? pmp : findUpnp(gateway, within())
}

function reasonOf({ name, message }: Error): string {
  return name === 'TimeoutError' ? 'the router speaks neither NAT-PMP nor UPnP' : message
}
