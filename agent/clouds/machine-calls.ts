/** What the command line may ask about the machines of this agent's clouds: the calls of api.ts, put together. */
import { FluidError } from '../../protocol/errors.ts'
import type { AgentApi } from '../api.ts'
import type { MachineReport } from '../reports/machine-report.ts'
import type { RelocationReport } from '../reports/relocation-reports.ts'
import type { Cloud, CloudKind } from './cloud.ts'
import type { Clouds } from './open-cloud.ts'

export type MachineCalls = Pick<AgentApi, 'machines' | 'machineStart' | 'machineStop'>

export interface MachineCallsParts {
  readonly clouds: Clouds
  /** Of this agent, as their source. */
  readonly relocations: () => readonly RelocationReport[]
}

/** States of a relocation in which its machines may be started here by hand: they are this side's alone. */
const OURS: ReadonlySet<RelocationReport['state']> = new Set<RelocationReport['state']>([
  'planned',
  'pre-copying',
  'converging',
  'paused',
  'rolled-back',
  'failed',
])

export function createMachineCalls({ clouds, relocations }: MachineCallsParts): MachineCalls {
  const find = async (name: string, kind: string | undefined): Promise<{ kind: CloudKind; cloud: Cloud }> => {
    requireClouds(clouds)
    const found: { kind: CloudKind; cloud: Cloud }[] = []
    for (const each of clouds.kinds) {
      if (kind !== undefined && kind !== each) continue
      const cloud = await clouds.cloud(each)
      if ((await cloud.machines()).includes(name)) found.push({ kind: each, cloud })
    }
    if (found.length === 1) return found[0]
    throw found.length === 0
      ? new FluidError('MACHINE_UNKNOWN', `No cloud of this agent has a machine ${name}`, {
          hint: 'List them with fluidcloud machines',
        })
      : new FluidError('USAGE', `Several clouds have a machine ${name}`, {
          hint: `Say which with --cloud: ${found.map((each) => each.kind).join(', ')}`,
        })
  }

  return {
    async machines() {
      requireClouds(clouds)
      const reports: MachineReport[] = []
      for (const kind of clouds.kinds) {
        const cloud = await clouds.cloud(kind)
        for (const name of await cloud.machines()) reports.push(await reportOf(kind, cloud, name))
      }
      return reports
    },
    async machineStart({ name, cloud: wanted }) {
      const { kind, cloud } = await find(name, wanted)
      const state = await cloud.state(name)
      // Behind the last wait: a cut-over that began meanwhile may be what has paused it.
      const held = relocations().find(
        ({ machines, state, sourceRuns }) =>
          machines.includes(name) && !OURS.has(state) && state !== 'finalized' && !sourceRuns,
      )
      if (held) {
        throw new FluidError('JOB_STATE', `${name} may run at ${held.peerName}: it is not started here`, {
          hint: `Take it back with fluidcloud rollback ${held.job}, or finalize it`,
        })
      }
      if (state === 'paused') await cloud.resume(name)
      else await cloud.start(name)
      return reportOf(kind, cloud, name)
    },
    async machineStop({ name, cloud: wanted, graceMs }) {
      const { kind, cloud } = await find(name, wanted)
      await cloud.stop(name, { graceMs })
      return reportOf(kind, cloud, name)
    },
  }
}

function requireClouds({ kinds }: Clouds): void {
  if (kinds.length > 0) return
  throw new FluidError('CONFIG_INVALID', 'This agent drives no cloud', {
    hint: 'Write [clouds.qemu], [clouds.libvirt] or [clouds.local] into config.toml, then start the agent again',
  })
}

async function reportOf(kind: CloudKind, cloud: Cloud, name: string): Promise<MachineReport> {
  const state = await cloud.state(name)
  const { vcpus, memoryBytes, disks } = await cloud.machine(name)
  return {
    name,
    cloud: kind,
    state,
    vcpus,
    memoryBytes,
    disks: disks.map(({ id, path, format, sizeBytes }) => ({ id, path, format, sizeBytes })),
  }
}
