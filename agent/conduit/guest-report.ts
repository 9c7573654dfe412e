/** What is found inside a machine's disks: plain data, bounded, without secrets. inspect-guest.ts makes it. */
import type { FileSystemKind } from '../../transfer/guest/file-system.ts'
import type { JournalState } from '../../transfer/guest/ext-volume.ts'
import type { Machine } from '../../protocol/machine.ts'
import type { Objection } from '../../protocol/relocation-message.ts'

/** The part of a machine that counts for its inspection. */
export type InspectedMachine = Pick<Machine, 'firmware' | 'disks' | 'extra'>

/** One partition, or a whole disk that has none. */
export interface ReportedVolume {
  /** vda1, or vda. */
  readonly name: string
  readonly sizeBytes: number
  readonly fileSystem: FileSystemKind
  readonly uuid?: string
  readonly label?: string
  /** Where the guest mounts it. */
  readonly mount?: string
  /** ext only. */
  readonly journal?: JournalState
  /** Why its files cannot be read. It is moved as it is all the same. */
  readonly problem?: string
}

export interface ReportedDisk {
  readonly id: string
  readonly table: 'mbr' | 'gpt' | 'none'
  readonly volumes: readonly ReportedVolume[]
}

export type NetworkStack = 'ifupdown' | 'netplan' | 'systemd-networkd' | 'networkmanager'

export interface ReportedNetwork {
  /** In the order in which they are found; several may be installed. */
  readonly stacks: readonly NetworkStack[]
  /** Files that configure interfaces. */
  readonly files: readonly string[]
  /** Fixed addresses in them, with prefix where it stands there. */
  readonly addresses: readonly string[]
  /** Names of interfaces in them. */
  readonly interfaces: readonly string[]
  /** MAC addresses in them: with another card the configuration no longer matches. */
  readonly macs: readonly string[]
}

/** A port that something in the guest is configured to listen on. */
export interface ReportedListener {
  readonly port: number
  readonly protocol: 'tcp' | 'udp'
  /** As it is written; absent: all. */
  readonly address?: string
  readonly service: string
  /** The file that says so; absent for a service's own default. */
  readonly path?: string
}

export type ReferenceKind =
  | 'postgres'
  | 'mysql'
  | 'mongodb'
  | 'redis'
  | 'amqp'
  | 'kafka'
  | 'http'
  | 'object-store'
  | 'host'

/** Something that the guest is configured to talk to. */
export interface ReportedReference {
  readonly kind: ReferenceKind
  /** As it is written, passwords and keys replaced by ***. */
  readonly value: string
  readonly host?: string
  readonly port?: number
  /** A database, or a bucket. */
  readonly name?: string
  readonly path: string
  /** Where in the file: a key, or `line 12`. */
  readonly key: string
}

export interface GuestReport {
  readonly disks: readonly ReportedDisk[]
  /** Name of the volume that is the root. */
  readonly root?: string
  /** Why files of the root cannot be changed at a target, though it can be moved; absent when they can. */
  readonly uneditable?: string
  readonly os?: { readonly id: string; readonly name: string; readonly version?: string }
  readonly hostname?: string
  readonly machineId?: string
  readonly fstab: readonly {
    readonly spec: string
    readonly path: string
    readonly type: string
    /** Name of the volume; absent: none of these disks. */
    readonly volume?: string
  }[]
  readonly network: ReportedNetwork
  readonly cloudInit: boolean
  /** Kinds of the SSH server's keys, such as ed25519. */
  readonly sshHostKeys: readonly string[]
  /** Units and init scripts that start with the guest. */
  readonly services: readonly string[]
  readonly listeners: readonly ReportedListener[]
  readonly references: readonly ReportedReference[]
  /** What could not be found out, and what the owner should know. */
  readonly notes: readonly string[]
  /** Why this guest cannot be relocated; empty when it can. */
  readonly objections: readonly Objection[]
}
