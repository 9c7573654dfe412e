/** What a grant says against a plan: amounts, networks, ports of the host, and whom health checks may ask. */
import { isIP } from 'node:net'
import type { ErrorCode } from '../../protocol/errors.ts'
import type { RelocateGrant } from '../../protocol/relocate-grant.ts'
import type { Machine, PortForward } from '../../protocol/machine.ts'
import type { RelocationRequest } from './target.ts'
import type { HealthCheck, Objection } from '../../protocol/relocation-message.ts'
import { isNeverAsked, isOfThisHost } from './asked-addresses.ts'

interface Rules {
  readonly cloud: { readonly kind: string; readonly supports: { readonly firmware: readonly string[] } }
  readonly grant: { readonly relocate: RelocateGrant }
  readonly others: readonly { readonly peer: string; readonly request: RelocationRequest }[]
}

/** Ports below are the host's own. */
const FIRST_FREE_PORT = 1024
/** Of a forward: every IPv4 address of the host. */
const ANY_ADDRESS = '0.0.0.0'

export function checkObjections(peer: string, request: RelocationRequest, rules: Rules): Objection[] {
  const { relocate } = rules.grant
  const objections: Objection[] = []
  const object = (code: ErrorCode, message: string) => objections.push({ code, message })
  const machines = request.machines.map(({ machine }) => machine)
  const held = rules.others
    .filter((other) => other.peer === peer)
    .flatMap(({ request: other }) => other.machines.map(({ machine }) => machine))
  const limit = (what: string, most: number, amount: (machine: Machine) => number) => {
    const total = [...held, ...machines].reduce((all, machine) => all + amount(machine), 0)
    if (most > 0 && total > most) object('TOO_LARGE', `${total} ${what} are needed, and ${most} are granted`)
  }
  limit('processors', relocate.maxVcpus, ({ vcpus }) => vcpus)
  limit('bytes of memory', relocate.maxMemoryBytes, ({ memoryBytes }) => memoryBytes)
  limit('machines', relocate.maxMachines, () => 1)
  for (const machine of machines) {
    const { name, nics, firmware } = machine
    if (!rules.cloud.supports.firmware.includes(firmware))
      object(
        'FORMAT_UNSUPPORTED',
        `${name} needs ${firmware}, which the ${rules.cloud.kind} cloud here lacks`,
      )
    for (const { network, forwards } of nics) {
      if (!relocate.networks.includes(network))
        object('POLICY_DENIED', `${name} may not be put on network ${network}`)
      for (const { hostAddress, hostPort } of forwards) {
        if (relocate.forwards === 'loopback' && !isLoopbackHost(hostAddress))
          object('POLICY_DENIED', `${name} may have no port of ${hostAddress}`)
        if (hostPort < FIRST_FREE_PORT)
          object('POLICY_DENIED', `${name} may not have port ${hostPort} of the host`)
      }
    }
    const moving = request.machines.find((planned) => planned.machine === machine)!.disks
    const lacking = machine.disks.find((disk) => !moving.some(({ id }) => id === disk.id))
    if (lacking) object('USAGE', `Disk ${lacking.id} of ${name} does not move with it`)
  }
  for (const check of request.health) {
    const why = checkObjection(check, machines, rules)
    if (why) object('POLICY_DENIED', why)
  }
  return objections
}

/** Health checks ask the machines, not whoever else this host can reach. */
function checkObjection(check: HealthCheck, machines: readonly Machine[], rules: Rules): string | undefined {
  const { host, port } = check.kind === 'tcp' ? check : whereOf(check.url)
  const where = `${host}:${port}`
  const address = host === 'localhost' ? '127.0.0.1' : host
  if (isIP(address) === 0) return `A check asks ${where}: only addresses of the machines may be asked`
  if (isOfThisHost(address)) {
    const forwards = machines.flatMap(({ nics }) => nics.flatMap((nic) => nic.forwards))
    // Beside a forward of one address, a service of this host may have the same port of another.
    const leadsThere = ({ hostAddress, hostPort }: PortForward) =>
      hostPort === port && (hostAddress === address || (hostAddress === ANY_ADDRESS && isIP(address) === 4))
    if (forwards.some(leadsThere)) return undefined
    // Services of this host have its ports.
    if (rules.cloud.kind === 'local' && port >= FIRST_FREE_PORT) return undefined
    return `A check asks ${where}, which leads to none of the machines`
  }
  if (isNeverAsked(address)) return `A check may not ask ${where}`
  const isBridged = machines.some(({ nics }) => nics.some(({ network }) => network !== 'user'))
  return isBridged ? undefined : `A check asks ${where}, and no machine is on a network of this host`
}

function whereOf(url: string): { host: string; port: number } {
  const { hostname, port, protocol } = new URL(url)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || (protocol === 'https:' ? 443 : 80) }
}

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host)
}
