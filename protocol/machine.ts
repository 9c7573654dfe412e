/** A machine in no cloud's own words: what drivers make of theirs, and what a relocation's plan carries. */

/** One disk of a machine. */
export interface MachineDisk {
  /** Unique within the machine: 1 to 64 of a-z, 0-9, '.', '_' and '-', such as vda. */
  readonly id: string
  /** Absolute path of an image or a block device; empty in a plan: where a disk lies at the source is not told. */
  readonly path: string
  readonly format: 'raw' | 'qcow2'
  /** As the machine sees it. */
  readonly sizeBytes: number
  readonly boot: boolean
  readonly bus: 'virtio' | 'scsi' | 'sata' | 'ide'
  readonly readOnly: boolean
  readonly serial?: string
}

/** A network card. */
export interface MachineNic {
  readonly id: string
  /** Six hexadecimal pairs with colons, lower case. */
  readonly mac: string
  readonly model: 'virtio' | 'e1000'
  /** A network of that cloud: `user` (built into QEMU), a bridge, or a libvirt network. */
  readonly network: string
  /** Ports of the host that lead to ports of the machine; on `user` networks only. */
  readonly forwards: readonly PortForward[]
}

export interface PortForward {
  readonly hostAddress: string
  readonly hostPort: number
  readonly guestPort: number
}

export interface Machine {
  /** 1 to 63 of a-z, A-Z, 0-9, '.', '_' and '-', the first no '.' or '-'. */
  readonly name: string
  readonly architecture: 'x86_64'
  readonly vcpus: number
  readonly memoryBytes: number
  readonly firmware: 'bios' | 'uefi'
  readonly chipset: 'q35' | 'pc'
  readonly disks: readonly MachineDisk[]
  readonly nics: readonly MachineNic[]
  /** What a driver needs that no other understands (a `local` machine's commands); at most 16 KiB as JSON. */
  readonly extra?: Readonly<Record<string, unknown>>
}

/** What may be a machine's name. */
export const MACHINE_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$/
/** What may be the id of a disk or a card. */
export const MACHINE_PART_ID = /^[a-z0-9._-]{1,64}$/
/** A hardware address. */
export const MACHINE_MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/
