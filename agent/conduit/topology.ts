/** What of a service leads where: machines, their disks, what they depend on; what moves, stays, or has to be rewritten. */
import type {
  PlannedMachineReport,
  ReferenceReport,
  RelocationPlanReport,
} from '../reports/relocation-reports.ts'
import { showChange } from '../../transfer/migrators/show-change.ts'
import type { FoundMachine } from './introspect.ts'
import type { ReportedReference } from './guest-report.ts'
import type { ObjectStore, ServiceFile } from './service-file.ts'
import type { PlannedPlace } from '../../protocol/relocation-message.ts'

/** One machine as the plan shows it. */
export function machineReport(
  found: FoundMachine,
  all: readonly FoundMachine[],
  service: ServiceFile,
  places: readonly PlannedPlace[],
): PlannedMachineReport {
  const { asked, cloud, machine, state, guest, steps, changes } = found
  const targetName = asked.target.name ?? asked.name
  return {
    name: asked.name,
    targetName,
    cloud: cloud.kind,
    state,
    vcpus: asked.target.vcpus ?? machine.vcpus,
    memoryBytes: asked.target.memoryBytes ?? machine.memoryBytes,
    firmware: machine.firmware,
    needs: asked.needs,
    os: guest?.os?.name,
    listens: (guest?.listeners ?? []).map(({ port, protocol, service: by }) =>
      `${port}/${protocol} ${by}`.trim(),
    ),
    networks: machine.nics.map(({ network }) =>
      asked.target.network === undefined || asked.target.network === network
        ? network
        : `${network} -> ${asked.target.network}`,
    ),
    disks: machine.disks.map(({ id, path, format, sizeBytes, boot }) => {
      const disk = found.disks.find((each) => each.id === id)
      return {
        disk: id,
        role: boot ? 'boot' : 'volume',
        path,
        format,
        sizeBytes,
        allocatedBytes: disk?.allocatedBytes ?? 0,
        moves: disk?.moves ?? false,
        destination: places.find((place) => place.machine === targetName && place.disk === id)?.destination,
      }
    }),
    references: (guest?.references ?? []).map((reference) =>
      referenceReport(reference, found, all, service.objectStores),
    ),
    steps: steps.map(({ migrator: { name, version } }) => ({ migrator: name, version })),
    changes: changes.map((change) => ({ path: change.path, diff: showChange(change) })),
  }
}

function referenceReport(
  { kind, value, host, path, name }: ReportedReference,
  found: FoundMachine,
  all: readonly FoundMachine[],
  stores: readonly ObjectStore[],
): ReferenceReport {
  const rewritten = found.changes.some((change) => change.path === path)
  return {
    path,
    kind,
    to: value,
    fate: rewritten
      ? 'rewritten'
      : isOwn(host, all)
        ? 'moves'
        : stores.some((store) => leadsTo(store, { kind, value, host, name }))
          ? 'stays'
          : 'unknown',
  }
}

/** Something inside the service, which goes along. */
function isOwn(host: string | undefined, all: readonly FoundMachine[]): boolean {
  if (host === undefined) return false
  if (['localhost', '127.0.0.1', '::1', '0.0.0.0', '::'].includes(host)) return true
  return all.some(
    ({ asked, guest }) =>
      asked.name === host ||
      guest?.hostname === host ||
      guest?.network.addresses.some((address) => address.split('/')[0] === host),
  )
}

function leadsTo(
  { endpoint, buckets }: ObjectStore,
  { kind, value, host, name }: { kind: string; value: string; host?: string; name?: string },
): boolean {
  const { hostname } = new URL(endpoint)
  return (
    host === hostname ||
    value.includes(hostname) ||
    (kind === 'object-store' && name !== undefined && buckets.includes(name))
  )
}

/** Each object store with the machines whose configuration names it. */
export function storeReports(
  service: ServiceFile,
  machines: readonly FoundMachine[],
): RelocationPlanReport['objectStores'] {
  return service.objectStores.map((store) => ({
    ...store,
    usedBy: machines
      .filter(({ guest }) => guest?.references.some((reference) => leadsTo(store, reference)))
      .map(({ asked }) => asked.name),
  }))
}

/** What is done, and after what: data first, all disks at once; the service last. */
export function tasksOf(machines: readonly FoundMachine[], live: boolean): RelocationPlanReport['tasks'] {
  const tasks: { id: string; what: string; after: string[]; bytes?: number }[] = []
  const disks = machines.flatMap(({ asked, disks: all }) =>
    all
      .filter(({ moves }) => moves)
      .map(({ id, allocatedBytes }) => ({ machine: asked.name, id, allocatedBytes })),
  )
  const halt = machines.map(({ asked }) => `halt ${asked.name}`)
  const copies = disks.map(({ machine, id }) => `move ${machine}/${id}`)
  if (live)
    for (const [i, { allocatedBytes }] of disks.entries())
      tasks.push({ id: copies[i], what: 'rounds while it runs', after: [], bytes: allocatedBytes })
  for (const id of halt)
    tasks.push({ id, what: live ? 'pause it' : 'shut it down', after: live ? copies : [] })
  const finals = disks.map(({ machine, id }) => `finish ${machine}/${id}`)
  for (const [i, { allocatedBytes }] of disks.entries())
    tasks.push({
      id: finals[i],
      what: live ? 'the last round' : 'move it',
      after: halt,
      ...(live ? {} : { bytes: allocatedBytes }),
    })
  tasks.push({ id: 'hand over', what: 'the right to run goes to the target, by leases', after: finals })
  for (const { asked, steps } of machines) {
    const adapt = `adapt ${asked.name}`
    if (steps.length > 0)
      tasks.push({
        id: adapt,
        what: steps.map(({ migrator }) => migrator.name).join(', '),
        after: ['hand over'],
      })
    tasks.push({
      id: `start ${asked.name}`,
      what: 'define and start it at the target',
      after: [steps.length > 0 ? adapt : 'hand over', ...asked.needs.map((need) => `start ${need}`)],
    })
  }
  tasks.push({
    id: 'check',
    what: 'ask whether it serves',
    after: machines.map(({ asked }) => `start ${asked.name}`),
  })
  tasks.push({ id: 'commit', what: 'it is live there for good', after: ['check'] })
  tasks.push({ id: 'finalize', what: 'remove it here, when told to', after: ['commit'] })
  return tasks
}
