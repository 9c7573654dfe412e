/** What a peer may have taken in: services that it relocates to this agent. Written by the owner alone. */

export interface RelocateGrant {
  /** The cloud its machines are made in. */
  readonly cloud: 'qemu' | 'libvirt' | 'local'
  /** Of all its machines here together; 0: no limit but the host. */
  readonly maxVcpus: number
  readonly maxMemoryBytes: number
  readonly maxMachines: number
  /** Networks its machines may be put on. */
  readonly networks: readonly string[]
  /** Ports of the host that lead to its machines: of the loopback address only, or of any. */
  readonly forwards: 'loopback' | 'any'
  /** Migrators it may ask for, by name; undefined: all that the operator of this agent allows. */
  readonly migrators?: readonly string[]
}

/** What may be changed of it; what is left out stays. */
export interface RelocateChange {
  /** `none` takes all of it away; the first time a cloud is named. */
  readonly relocate?: RelocateGrant['cloud'] | 'none'
  readonly maxVcpus?: number
  readonly maxMemoryBytes?: number
  readonly maxMachines?: number
  readonly networks?: readonly string[]
  readonly forwards?: RelocateGrant['forwards']
  /** `all`, alone: those that the operator of this agent allows. */
  readonly migrators?: readonly string[]
}

/** What holds unless the owner says otherwise. */
export const RELOCATE_DEFAULTS = {
  maxVcpus: 0,
  maxMemoryBytes: 0,
  maxMachines: 4,
  networks: ['user'],
  forwards: 'loopback',
} as const satisfies Partial<RelocateGrant>
