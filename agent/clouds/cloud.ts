/**
 * A cloud as the Conduit sees it: machines that can be described, snapshotted while they run, paused, made and removed.
 *
 * Drivers lie beside this file and pass test/conformance/cloud.ts. Whatever a driver makes for a relocation (exports,
 * bitmaps, scratch files, processes) can be found by its owner's id alone, so that release() leaves nothing behind after
 * any crash.
 */
import type { Range } from '../../protocol/extent.ts'
import type { Machine, MachineDisk } from '../../protocol/machine.ts'

export type CloudKind = 'qemu' | 'libvirt' | 'local'

export type MachineState = 'running' | 'paused' | 'stopped'

/** One disk at one instant. */
export interface DiskSnapshot {
  readonly disk: string
  readonly sizeBytes: number
  /** Where it is read, never written: file:, block:, nbd: or nbd+unix:, for several clients at once. */
  readonly url: string
  /** Another one than before: what changed since cannot be told, and all of it has to be looked at. */
  readonly epoch: string
  /**
   * Written since the owner's last snapshot that was disposed, of the same epoch; undefined: unknown, anything may be. So
   * dispose one only when all that was wanted of it is kept: what an agent that died left open is named again.
   */
  readonly dirty?: readonly Range[]
}

/** All disks of a machine at the same instant. Disposing closes what was opened to read it; writes stay tracked. */
export interface Snapshot extends AsyncDisposable {
  readonly disks: readonly DiskSnapshot[]
}

export interface CloudOptions {
  readonly signal?: AbortSignal
}

/** Every call throws CLOUD_FAILED with what the cloud said, MACHINE_UNKNOWN for a name it does not know. */
export interface Cloud extends AsyncDisposable {
  readonly kind: CloudKind
  readonly supports: {
    /** Snapshots of a running machine that tell what was written since the last. */
    readonly live: boolean
    /** pause() and resume() hold a machine in memory. */
    readonly pause: boolean
    readonly formats: readonly MachineDisk['format'][]
    readonly firmware: readonly Machine['firmware'][]
  }
  /** Names of the machines it has, in order. */
  machines(options?: CloudOptions): Promise<string[]>
  machine(name: string, options?: CloudOptions): Promise<Machine>
  state(name: string, options?: CloudOptions): Promise<MachineState>
  /**
   * Marks of the machine and of its disks that undefine() would remove. One that was made under the name since, or got
   * another disk, has a mark that was not there; what is written to its disks, and a restart of the host, changes none.
   */
  identity(name: string, options?: CloudOptions): Promise<readonly string[]>
  /**
   * All disks that are not read-only, at one instant. Where the cloud is `live`, begins to track what the machine writes
   * from then on, for `owner` (32 hex digits) alone. The owner's snapshot before has been disposed.
   */
  snapshot(name: string, owner: string, options?: CloudOptions): Promise<Snapshot>
  /** Bytes written since the owner's last snapshot, roughly; 0 where nothing is tracked. */
  dirtyBytes(name: string, owner: string, options?: CloudOptions): Promise<number>
  /** Stops the processors; disks are flushed and quiet when it resolves. Idempotent. */
  pause(name: string, options?: CloudOptions): Promise<void>
  /** The inverse of pause(). Idempotent. */
  resume(name: string, options?: CloudOptions): Promise<void>
  /** Starts a stopped machine. Idempotent. */
  start(name: string, options?: CloudOptions): Promise<void>
  /** Asks the machine to shut down, and takes its power after `graceMs` (0: at once). Idempotent. */
  stop(name: string, options: CloudOptions & { readonly graceMs: number }): Promise<void>
  /** Makes a machine, stopped, on disks that exist. Throws CLOUD_FAILED when the name is taken, without a change. */
  define(machine: Machine, options?: CloudOptions): Promise<void>
  /** Forgets a stopped machine, and with `disks` removes its disks. Idempotent: an unknown name is fine. */
  undefine(name: string, options: CloudOptions & { readonly disks: boolean }): Promise<void>
  /** Ends everything that was made for `owner`; the machine itself runs on as it is. Idempotent. */
  release(owner: string, options?: CloudOptions): Promise<void>
}
