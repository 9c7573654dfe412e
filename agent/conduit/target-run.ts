/**
 * From handover to verdict at the target: disks are changed, machines made, started one after the other under their guard
 * and each on a fresh lease, and asked whether they serve. Each part can be done again after a crash.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { RelocationMessage, Stage } from '../../protocol/relocation-message.ts'
import { awaitHealthy } from '../../transfer/migrators/health.ts'
import type { Cloud } from '../clouds/cloud.ts'
import { requireWhole } from '../clouds/image-size.ts'
import { crashPoint } from './crash-point.ts'
import type { Fence } from './fence.ts'
import type { LeaseHolder } from './target-lease.ts'
import { diskPaths, machineHere, makeMachine } from './target-machines.ts'
import type { ArrivalParts } from './target-parts.ts'
import type { ArrivalRecord, Outcome } from './target-record.ts'

/** What of an arrival its run works on. */
export interface RunningArrival {
  readonly record: ArrivalRecord
  readonly fence: Fence
  readonly holder: LeaseHolder | undefined
  cloud(): Promise<Cloud>
  update(change: Partial<ArrivalRecord>): Promise<void>
  tell(message: RelocationMessage): void
  guard(): Promise<void>
  conclude(outcome: Outcome): Promise<void>
}

/** Between two looks while no lease lets machines run. */
const PATIENCE_MS = 200

/** Ends with a healthy verdict, told and kept. Throws what the verdict should say, and the signal's reason. */
export async function runArrival(
  arrival: RunningArrival,
  parts: ArrivalParts,
  signal: AbortSignal,
): Promise<void> {
  const { record } = arrival
  const { relocation, request } = record
  const progress = (stage: Stage, detail: string) =>
    arrival.tell({ kind: 'progress', relocation, stage, detail })
  if (record.state === 'healthy') return
  const begun = performance.now()
  if (record.state === 'adapting') {
    crashPoint('target-adapting')
    const { adaptMachine } = await import('./target-adapt.ts')
    for (const planned of request.machines) {
      const { name } = planned.machine
      progress('adapting', name)
      await adaptMachine(planned, {
        ...parts,
        folder: parts.folderOf(relocation),
        disks: await diskPaths(record, name),
        signal,
        onChange: (path, diff) => arrival.tell({ kind: 'changed', relocation, machine: name, path, diff }),
      })
    }
    crashPoint('target-adapted')
    await arrival.update({
      state: 'starting',
      timings: { ...record.timings, adapting: Math.round(performance.now() - begun) },
    })
  }
  const adapted = performance.now()
  const cloud = await arrival.cloud()
  for (const planned of request.machines) {
    const { name } = planned.machine
    signal.throwIfAborted()
    progress('registering', name)
    if (!record.made.includes(name)) await arrival.update({ made: [...record.made, name] })
    await makeMachine(cloud, await machineHere(record, planned), signal)
  }
  await arrival.guard()
  crashPoint('target-registered')
  const registered = performance.now()
  await arrival.update({ timings: { ...record.timings, registering: Math.round(registered - adapted) } })
  for (const { machine } of request.machines) {
    progress('starting', machine.name)
    await startMachine(arrival, machine.name, signal)
    crashPoint('target-started')
  }
  progress('checking', `${request.health.length} checks`)
  const firstPassed = await checkHealth(arrival, progress, signal)
  const passed = performance.now()
  signal.throwIfAborted()
  await arrival.conclude({
    healthy: true,
    objections: [],
    timings: {
      adapting: 0,
      registering: 0,
      ...record.timings,
      starting: Math.round((firstPassed ?? passed) - registered),
      checking: Math.round(passed - (firstPassed ?? passed)),
    },
  })
  crashPoint('target-healthy')
}

/** Starts a machine under its guard, with the most of a lease before it. */
async function startMachine(arrival: RunningArrival, name: string, signal: AbortSignal): Promise<void> {
  const cloud = await arrival.cloud()
  for (;;) {
    if (!arrival.holder) throw new FluidError('JOB_STATE', 'No lease can be asked for')
    await arrival.holder.renewed(signal)
    if (!(await arrival.fence.isRaised())) await arrival.guard()
    const { started } = arrival.record
    if (!started.includes(name)) await arrival.update({ started: [...started, name] })
    signal.throwIfAborted()
    if (!arrival.holder?.letsRun) continue
    // What runs already was started before a crash of this agent.
    const state = await cloud.state(name)
    if (state === 'paused') await cloud.resume(name, { signal })
    else {
      if (state === 'stopped') await requireWhole(await diskPaths(arrival.record, name))
      await cloud.start(name, { signal })
    }
    return
  }
}

/** Waits for all checks; the time in which no lease let machines run does not count. Gives when the first passed. */
async function checkHealth(
  arrival: RunningArrival,
  progress: (stage: Stage, detail: string) => void,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { health, gateMs } = arrival.record.request
  let first: number | undefined
  let heldMs = 0
  const watching = setInterval(() => {
    if (!arrival.holder?.letsRun) heldMs += PATIENCE_MS
  }, PATIENCE_MS)
  try {
    for (let leftMs = gateMs; ; leftMs = heldMs) {
      heldMs = 0
      try {
        await awaitHealthy(health, {
          signal,
          deadlineMs: leftMs,
          onPassed: ({ check, attempts }) => {
            first ??= performance.now()
            const what =
              check.kind === 'http' ? check.url : check.kind === 'tcp' ? `${check.host}:${check.port}` : ''
            progress('checking', `${what} passed at try ${attempts}`)
          },
        })
        return first
      } catch (error) {
        signal.throwIfAborted()
        if (heldMs === 0) throw error
      }
    }
  } finally {
    clearInterval(watching)
  }
}
