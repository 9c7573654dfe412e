/** Machines of the clouds of this agent. Plain data only. */
import type { CloudKind, MachineState } from '../clouds/cloud.ts'

/** A machine of one of this agent's clouds. */
export interface MachineReport {
  readonly name: string
  readonly cloud: CloudKind
  readonly state: MachineState
  readonly vcpus: number
  readonly memoryBytes: number
  readonly disks: readonly {
    readonly id: string
    readonly path: string
    readonly format: string
    readonly sizeBytes: number
  }[]
}
