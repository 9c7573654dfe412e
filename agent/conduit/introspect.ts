/**
 * Looking at a service where it runs: its machines from their clouds, and their disks from inside, by a snapshot that is
 * gone when this is done. Nothing is changed; what stands against a relocation is gathered, all of it.
 */
import { randomBytes } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { RELOCATION_ID_BYTES } from '../../protocol/limits.ts'
import type { FileChange } from '../../transfer/guest-files.ts'
import { openGuest } from '../../transfer/guest/open-guest.ts'
import type { AllowedMigrators } from '../../transfer/migrators/registry.ts'
import { previewChanges, type EditStep } from '../../transfer/migrators/apply.ts'
import { blockUrl, fileUrl, openSource } from '../../transfer/open.ts'
import type { Source } from '../../transfer/source.ts'
import { requireWhole } from '../clouds/image-size.ts'
import type { Cloud, MachineState, Snapshot } from '../clouds/cloud.ts'
import type { Machine } from '../../protocol/machine.ts'
import type { Clouds } from '../clouds/open-cloud.ts'
import type { GuestReport } from './guest-report.ts'
import { inspectGuest } from './inspect-guest.ts'
import type { ServiceFile, ServiceMachine } from './service-file.ts'
import { stepsOf } from './service-steps.ts'

export interface FoundDisk {
  readonly id: string
  readonly moves: boolean
  readonly sizeBytes: number
  /** Data in it; its size where that cannot be told. */
  readonly allocatedBytes: number
}

/** A machine of the service, as it is. */
export interface FoundMachine {
  readonly asked: ServiceMachine
  readonly cloud: Cloud
  readonly machine: Machine
  readonly state: MachineState
  readonly disks: readonly FoundDisk[]
  /** Undefined when its disks could not be looked into. */
  readonly guest?: GuestReport
  readonly steps: readonly EditStep[]
  /** What the steps would change, as it looks now. */
  readonly changes: readonly FileChange[]
}

export interface Introspection {
  readonly machines: readonly FoundMachine[]
  readonly warnings: readonly string[]
  /** Everything that stands against it here. */
  readonly reasons: readonly FluidError[]
}

/** Looks at every machine. Throws only when aborted. */
export async function introspect(
  clouds: Clouds,
  service: ServiceFile,
  { live, signal, migrators }: { live: boolean; signal: AbortSignal; migrators?: AllowedMigrators },
): Promise<Introspection> {
  const machines: FoundMachine[] = []
  const warnings: string[] = []
  const reasons: FluidError[] = []
  for (const asked of service.machines) {
    try {
      machines.push(await lookAt(clouds, asked, { live, signal, migrators, warnings, reasons }))
    } catch (error) {
      signal.throwIfAborted()
      reasons.push(asFluidError(error))
    }
  }
  return { machines, warnings, reasons }
}

interface Looking {
  readonly live: boolean
  readonly migrators?: AllowedMigrators
  readonly signal: AbortSignal
  readonly warnings: string[]
  readonly reasons: FluidError[]
}

async function lookAt(clouds: Clouds, asked: ServiceMachine, looking: Looking): Promise<FoundMachine> {
  const { live, signal, warnings, reasons } = looking
  const cloud = await cloudOf(clouds, asked, signal)
  const machine = await cloud.machine(asked.name, { signal })
  const state = await cloud.state(asked.name, { signal })
  reasons.push(...stateObjections(cloud, asked.name, state, live))
  // What this agent would not start again, were the relocation to go back, is not stopped either.
  if (cloud.kind === 'qemu') await requireWhole(machine.disks)
  for (const disk of machine.disks)
    if (disk.readOnly) warnings.push(`Disk ${disk.id} of ${asked.name} is read-only and stays where it is`)
  const owner = randomBytes(RELOCATION_ID_BYTES).toString('hex')
  try {
    await using snapshot = await snapshotOf(cloud, machine, state, owner, signal)
    await using sources = new AsyncDisposableStack()
    const opened: { id: string; source: Source }[] = []
    for (const { disk, url } of snapshot.disks)
      opened.push({ id: disk, source: sources.use(await openSource(url)) })
    const disks: FoundDisk[] = []
    for (const { id, readOnly, sizeBytes } of machine.disks) {
      const source = opened.find((each) => each.id === id)?.source
      const allocatedBytes = source && !readOnly ? await allocatedIn(source, signal) : 0
      disks.push({ id, moves: !readOnly, sizeBytes, allocatedBytes })
    }
    const inside = await lookInside(opened, machine, asked, looking)
    return { asked, cloud, machine, state, disks, ...inside }
  } finally {
    await cloud.release(owner)
  }
}

async function lookInside(
  opened: readonly { id: string; source: Source }[],
  machine: Machine,
  asked: ServiceMachine,
  { signal, migrators, warnings, reasons }: Looking,
): Promise<Pick<FoundMachine, 'guest' | 'steps' | 'changes'>> {
  const guest = await inspectGuest(opened, machine, { signal })
  for (const note of guest.notes) warnings.push(`${asked.name}: ${note}`)
  for (const { code, message, hint } of guest.objections)
    reasons.push(new FluidError(code, `${asked.name}: ${message}`, { hint }))
  const steps = await stepsOf(asked, migrators).catch((error: unknown) => {
    reasons.push(asFluidError(error))
    return []
  })
  if (steps.length === 0) return { guest, steps, changes: [] }
  if (guest.uneditable !== undefined) {
    const message = `${asked.name}: its files cannot be changed there: ${guest.uneditable}`
    reasons.push(
      new FluidError('GUEST_UNSUPPORTED', message, {
        hint: 'Shut it down cleanly or check its file systems (fsck), or relocate it without changes to its files',
      }),
    )
    return { guest, steps, changes: [] }
  }
  try {
    await using files = await openGuest(opened, { signal })
    const context = {
      signal,
      machine: { name: asked.target.name ?? asked.name, macs: machine.nics.map(({ mac }) => mac) },
    }
    return { guest, steps, changes: await previewChanges(files, steps, context) }
  } catch (error) {
    signal.throwIfAborted()
    const { code, message, details } = asFluidError(error)
    if (!reasons.some((reason) => reason.code === code))
      reasons.push(new FluidError(code, `${asked.name}: ${message}`, { ...details, cause: error }))
    return { guest, steps, changes: [] }
  }
}

async function cloudOf(
  clouds: Clouds,
  { name, cloud: asked }: ServiceMachine,
  signal: AbortSignal,
): Promise<Cloud> {
  if (asked) return await clouds.cloud(asked)
  if (clouds.kinds.length === 0)
    throw new FluidError('CONFIG_INVALID', 'This agent drives no cloud', {
      hint: 'Write [clouds.qemu], [clouds.libvirt] or [clouds.local] into config.toml, then start the agent again',
    })
  const having: Cloud[] = []
  let failure: unknown
  for (const kind of clouds.kinds) {
    try {
      const cloud = await clouds.cloud(kind)
      if ((await cloud.machines({ signal })).includes(name)) having.push(cloud)
    } catch (error) {
      signal.throwIfAborted()
      failure ??= error
    }
  }
  if (having.length === 1) return having[0]
  if (having.length === 0 && failure) throw failure as Error
  throw having.length === 0
    ? new FluidError('MACHINE_UNKNOWN', `No cloud here has a machine ${name} (${clouds.kinds.join(', ')})`)
    : new FluidError('CONFIG_INVALID', `Several clouds have a machine ${name}`, {
        hint: `Say which: cloud = "${having[0].kind}" in its [[machine]]`,
      })
}

function stateObjections(cloud: Cloud, name: string, state: MachineState, live: boolean): FluidError[] {
  if (state === 'paused')
    return [
      new FluidError('CLOUD_FAILED', `${name} is paused`, {
        hint: 'Let it run, or stop it; then plan again',
      }),
    ]
  if (!live) return []
  if (!cloud.supports.live)
    return [
      new FluidError(
        'GUEST_UNSUPPORTED',
        `The ${cloud.kind} cloud cannot see what ${name} writes while it runs`,
        {
          hint: 'Relocate it without --live',
        },
      ),
    ]
  return state === 'stopped'
    ? [
        new FluidError('GUEST_UNSUPPORTED', `${name} does not run`, {
          hint: 'Leave out --live, or start it first',
        }),
      ]
    : []
}

/** Where a cloud cannot show a running machine's disks, they are read as they are: good enough for a look. */
async function snapshotOf(
  cloud: Cloud,
  machine: Machine,
  state: MachineState,
  owner: string,
  signal: AbortSignal,
): Promise<Snapshot> {
  if (cloud.supports.live || state !== 'running') return await cloud.snapshot(machine.name, owner, { signal })
  const disks = machine.disks.map(async ({ id, path, sizeBytes }) => ({
    disk: id,
    sizeBytes,
    url: (await stat(path)).isBlockDevice() ? blockUrl(path) : fileUrl(path),
    epoch: '',
  }))
  return { disks: await Promise.all(disks), async [Symbol.asyncDispose]() {} }
}

async function allocatedIn(source: Source, signal: AbortSignal): Promise<number> {
  let total = 0
  for await (const { length } of source.extents(0, { signal })) total += length
  return total
}
