/** The plan of a relocation: what is found here, what the target says to it, what it will cost; nothing is changed. */
import { randomBytes } from 'node:crypto'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { LEASE_MS, RELOCATION_ID_BYTES } from '../../protocol/limits.ts'
import type { RelocationPlanReport } from '../reports/relocation-reports.ts'
import { factsOfJobs } from '../brokers/broker-facts.ts'
import type { Machine } from '../../protocol/machine.ts'
import { errorReport } from '../jobs/job.ts'
import { askInTurn, noChoice, type Choice } from './choose-target.ts'
import { predictDowntimeMs } from './convergence.ts'
import { introspect, type FoundMachine, type Introspection } from './introspect.ts'
import { freshRelocation, type RelocationRecord } from './relocation-record.ts'
import type { RelocationParts } from './relocation-parts.ts'
import { inOrder, type ServiceFile } from './service-file.ts'
import { plannedSteps } from './service-steps.ts'
import { machineReport, storeReports, tasksOf } from './topology.ts'
import { isArrivalOver } from './target-record.ts'
import { unlessAborted } from './unless-aborted.ts'
import type { RelocationRequest } from './target.ts'

/** A line of 100 Mbit/s, as matching assumes as well. */
const ASSUMED_BYTES_PER_SECOND = 12_500_000

export interface Plan {
  readonly report: RelocationPlanReport
  /** What begins it; undefined when it is not feasible. */
  readonly record?: RelocationRecord
}

export interface PlanOptions {
  readonly live: boolean
  /** Whom to ask; undefined: what was found decides, and `choose` is asked. */
  readonly peer?: string
  choose(machines: readonly FoundMachine[]): Promise<Choice>
  readonly peerName: (peer: string) => string
  readonly signal: AbortSignal
}

/** Looks and asks; reasons against it are in the report. Throws only when aborted. */
export async function planRelocation(
  parts: RelocationParts,
  service: ServiceFile,
  options: PlanOptions,
): Promise<Plan> {
  const { live, signal, peerName } = options
  const found = await introspect(parts.clouds, service, { live, signal, migrators: parts.migrators })
  const reasons = [...found.reasons]
  const warnings = [...found.warnings]
  const blame = (error: unknown): undefined => {
    signal.throwIfAborted()
    reasons.push(asFluidError(error))
  }
  const complete = found.machines.length === service.machines.length
  const choice =
    options.peer === undefined && complete ? await options.choose(found.machines).catch(blame) : undefined
  const peers = options.peer === undefined ? (choice?.peers ?? []) : [options.peer]
  if (choice && peers.length === 0) reasons.push(noChoice(choice))
  const request = requestOf(service, found, live)
  const asked =
    peers.length > 0 && complete && reasons.length === 0
      ? await askInTurn(peers, (one) => askTarget(parts, one, request, signal), peerName)
      : undefined
  signal.throwIfAborted()
  const peer = asked?.peer ?? peers[0]
  const places = asked?.places ?? []
  reasons.push(...(asked?.reasons ?? []), ...(await claims(parts, found.machines, peerName)))
  warnings.push(...(asked?.warnings ?? []))
  const totalBytes = found.machines.reduce((sum, { disks }) => sum + bytesOf(disks), 0)
  const report: RelocationPlanReport = {
    feasible: reasons.length === 0,
    service: service.name,
    peer,
    peerName: peer === undefined ? undefined : peerName(peer),
    ...(choice && { match: choice.match }),
    live,
    machines: found.machines.map((each) => machineReport(each, found.machines, service, places)),
    objectStores: storeReports(service, found.machines),
    tasks: tasksOf(found.machines, live),
    totalBytes,
    predicted: predict(parts, peer, totalBytes, live),
    warnings,
    reasons: reasons.map(errorReport),
  }
  if (!report.feasible || peer === undefined) return { report }
  return { report, record: recordOf(service, found, request, peer, live) }
}

/** Machines that others relocated here and may take back: they would run there and where they went from here. */
async function claims(
  { arrivals }: RelocationParts,
  machines: readonly FoundMachine[],
  peerName: (peer: string) => string,
): Promise<FluidError[]> {
  const open = ((await arrivals?.()) ?? []).filter(({ state }) => !isArrivalOver(state))
  return machines.flatMap(({ asked: { name }, cloud }) => {
    const claim = open.find((each) => each.cloud === cloud.kind && each.made.includes(name))
    if (!claim) return []
    const { relocation, peer } = claim
    const hint = `First, there: fluidcloud finalize ${relocation}. If that agent is gone for good: fluidcloud pair rm ${peerName(peer)}, here`
    return [
      new FluidError('JOB_STATE', `${name} came from ${peerName(peer)}, which may take it back`, { hint }),
    ]
  })
}

async function askTarget(
  parts: RelocationParts,
  peer: string,
  request: RelocationRequest,
  signal: AbortSignal,
) {
  await using target = await parts.openTarget({ peer, request }, signal)
  return await unlessAborted(target.prepare(request, { dry: true }), signal)
}

/** What the target is asked, in the order in which machines start. */
function requestOf(service: ServiceFile, { machines }: Introspection, live: boolean): RelocationRequest {
  const { health, cutover } = service
  return {
    relocation: randomBytes(RELOCATION_ID_BYTES).toString('hex'),
    service: service.name,
    live,
    machines: inOrder(service.machines)
      .map(({ name }) => machines.find(({ asked }) => asked.name === name))
      .filter((found) => found !== undefined)
      .map((found) => ({
        machine: machineThere(found),
        disks: found.disks
          .filter(({ moves }) => moves)
          .map(({ id, sizeBytes, allocatedBytes }) => ({ id, sizeBytes, allocatedBytes })),
        steps: plannedSteps(found.steps),
      })),
    health,
    gateMs: cutover.gateMs,
  }
}

/** The machine as it is wanted there: with the owner's overrides, and without disks that stay. */
function machineThere({ asked, machine, disks }: FoundMachine): Machine {
  const { target, name } = asked
  return {
    ...machine,
    name: target.name ?? name,
    vcpus: target.vcpus ?? machine.vcpus,
    memoryBytes: target.memoryBytes ?? machine.memoryBytes,
    disks: machine.disks.filter(({ id }) => disks.some((disk) => disk.id === id && disk.moves)),
    nics: machine.nics.map((nic, i) => ({
      ...nic,
      network: target.network ?? nic.network,
      forwards: i === 0 && target.forwards !== undefined ? target.forwards : nic.forwards,
    })),
  }
}

function recordOf(
  service: ServiceFile,
  { machines }: Introspection,
  request: RelocationRequest,
  peer: string,
  live: boolean,
): RelocationRecord {
  const ordered = inOrder(service.machines).map(({ name }) =>
    machines.find(({ asked }) => asked.name === name)!,
  )
  return freshRelocation({
    relocation: request.relocation,
    peer,
    service,
    live,
    request,
    leaseMs: LEASE_MS,
    machines: ordered.map(({ asked, cloud, state }) => ({
      name: asked.name,
      targetName: asked.target.name ?? asked.name,
      cloud: cloud.kind,
      stateBefore: state,
    })),
    disks: ordered.flatMap(({ asked, disks }) =>
      disks
        .filter(({ moves }) => moves)
        .map(({ id, sizeBytes, allocatedBytes }) => ({
          machine: asked.name,
          disk: id,
          sizeBytes,
          allocatedBytes,
        })),
    ),
  })
}

/** Apart from the time that machines take to start, and that checks take. */
function predict(
  { jobs }: RelocationParts,
  peer: string | undefined,
  totalBytes: number,
  live: boolean,
): RelocationPlanReport['predicted'] {
  const measured = peer === undefined ? undefined : factsOfJobs(jobs.list()).get(peer)?.bytesPerSecond
  const moveSeconds = totalBytes / (measured ?? ASSUMED_BYTES_PER_SECOND)
  const fixedSeconds = predictDowntimeMs([], 0) / 1000
  return {
    moveSeconds: Math.round(moveSeconds * 10) / 10,
    downtimeSeconds: live ? fixedSeconds : Math.round((moveSeconds + fixedSeconds) * 10) / 10,
    measured: measured !== undefined,
  }
}

function bytesOf(disks: FoundMachine['disks']): number {
  return disks.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0)
}
