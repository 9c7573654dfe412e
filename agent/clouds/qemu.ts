/**
 * The `qemu` cloud: machines of plain QEMU, one description each in a folder, whose processes outlive the agent and are
 * spoken to through QMP. Snapshots of what runs or is paused are QEMU's own; images of what is stopped are served as
 * they are.
 */
import { rm, stat } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_LANES } from '../../protocol/limits.ts'
import { openQemuImage } from '../../transfer/backends/qemu-image.ts'
import { blockUrl, fileUrl } from '../../transfer/open.ts'
import type { Cloud, DiskSnapshot, Snapshot } from './cloud.ts'
import type { Machine } from '../../protocol/machine.ts'
import type { QemuCloudConfig } from './cloud-config.ts'
import { imageIdentity, imageMarks, removeImages } from './image-file.ts'
import { requireWhole } from './image-size.ts'
import { openMachineFolder } from './machine-folder.ts'
import { checkMachine, socketsIn } from './qemu-arguments.ts'
import { removeBitmaps } from './qemu-blocks.ts'
import { findUefi } from './qemu-firmware.ts'
import { askQemuToEnd, endQemu, holdQemu, openMachineQmp, qemuState, startQemu } from './qemu-process.ts'
import { endLiveSnapshot, liveDirtyBytes, removeScratch, takeSnapshot } from './qemu-snapshot.ts'
import type { Qmp } from './qmp.ts'
import { checkRoom, freeBytesIn, watchRoom } from './scratch-room.ts'
import { daemonProcess } from './service.ts'
import { createPowerTurns, createTurns } from './turns.ts'

/** sockaddr_un holds 108 bytes with the final NUL. */
const MAX_SOCKET_PATH_BYTES = 107

/** Opens the folder of descriptions; it is made when it is missing. Throws CLOUD_FAILED. */
export async function openQemuCloud(config: QemuCloudConfig): Promise<Cloud> {
  const folder = await openMachineFolder(config.machines)
  const uefi = await findUefi()
  const inTurn = createTurns()
  const inPowerTurn = createPowerTurns(config.machines)
  /** Machine and owner whose last snapshot was disposed here, and is the last still. */
  const kept = new Set<string>()
  /** Of machine and owner: the last snapshot taken here, which disposing watches no longer. */
  const last = new Map<string, Disposable>()

  async function liveSnapshot(
    machine: Machine,
    owner: string,
    qmp: Qmp,
    signal: AbortSignal | undefined,
  ): Promise<Snapshot> {
    const { name } = machine
    const at = folder.runPath(name)
    const key = `${name}/${owner}`
    const live = machine.disks.flatMap(({ id, readOnly }, index) => (readOnly ? [] : [{ id, index }]))
    // What is overwritten while it is read; a machine that is held overwrites nothing.
    const diskBytes = machine.disks.reduce(
      (sum, { readOnly, sizeBytes }) => sum + (readOnly ? 0 : sizeBytes),
      0,
    )
    forget(key)
    await endLiveSnapshot(qmp, owner, at)
    if (!(await isHeld(qmp))) await checkRoom(at, diskBytes, 'machines in [clouds.qemu]')
    const keptLast = kept.delete(key)
    const disks = await takeSnapshot(qmp, live, owner, { folder: at, keptLast, signal })
    const end = async ({ isKept }: { isKept: boolean }) =>
      inTurn(name, undefined, async () => {
        // Disposed before, released, or ended by the snapshot after it.
        if (last.get(key) !== shown) return
        await using monitor = await openMachineQmp(at)
        // Of a machine that ended only the files are left.
        if (monitor) await endLiveSnapshot(monitor, owner, at)
        else await removeScratch(at, owner)
        forget(key)
        if (monitor && isKept) kept.add(key)
      })
    const free = async () => {
      const bytes = await freeBytesIn(at)
      return bytes < diskBytes && (await qemuState(at)) === 'paused' ? Infinity : bytes
    }
    const unwatch = watchRoom(free, diskBytes, () => end({ isKept: false }))
    const shown = { [Symbol.dispose]: unwatch }
    last.set(key, shown)
    return { disks, [Symbol.asyncDispose]: () => end({ isKept: true }) }
  }

  function forget(key: string): void {
    last.get(key)?.[Symbol.dispose]()
    last.delete(key)
  }

  async function releaseIn(name: string, owner: string, signal: AbortSignal | undefined): Promise<void> {
    const at = folder.runPath(name)
    kept.delete(`${name}/${owner}`)
    forget(`${name}/${owner}`)
    await using qmp = await openMachineQmp(at, signal)
    if (qmp) {
      await endLiveSnapshot(qmp, owner, at)
      await removeBitmaps(qmp, owner)
    }
    await removeScratch(at, owner)
  }

  return {
    kind: 'qemu',
    supports: {
      live: true,
      pause: true,
      formats: ['raw', 'qcow2'],
      firmware: uefi ? ['bios', 'uefi'] : ['bios'],
    },
    machines: async () => folder.names(),
    machine: async (name) => folder.machine(name),
    async state(name, { signal } = {}) {
      await folder.described(name)
      return qemuState(folder.runPath(name), signal)
    },
    identity: async (name) => imageMarks((await folder.described(name)).disks),
    snapshot: async (name, owner, { signal } = {}) =>
      inTurn(name, signal, async () => {
        checkOwner(owner)
        const machine = await folder.machine(name)
        await using qmp = await openMachineQmp(folder.runPath(name), signal)
        return qmp ? await liveSnapshot(machine, owner, qmp, signal) : await stillSnapshot(machine, signal)
      }),
    async dirtyBytes(name, owner, { signal } = {}) {
      checkOwner(owner)
      await folder.described(name)
      await using qmp = await openMachineQmp(folder.runPath(name), signal)
      return qmp ? await liveDirtyBytes(qmp, owner) : 0
    },
    pause: async (name, { signal } = {}) =>
      inTurn(name, signal, async () => {
        await folder.described(name)
        await holdQemu(folder.runPath(name), true, signal)
      }),
    resume: async (name, { signal } = {}) =>
      inTurn(name, signal, async () => {
        await folder.described(name)
        await holdQemu(folder.runPath(name), false, signal)
      }),
    start: async (name, { signal } = {}) =>
      inPowerTurn(name, signal, async () => {
        const machine = await folder.described(name)
        if (await daemonProcess(folder.runPath(name))) return
        checkMachine(machine, config, uefi)
        // When it was defined they were; its disks may have been replaced since.
        await requireWhole(machine.disks)
        await startQemu(machine, config, await folder.runFolder(name))
      }),
    stop: async (name, { graceMs, signal }) => {
      signal?.throwIfAborted()
      await folder.described(name)
      if (graceMs > 0) await askQemuToEnd(folder.runPath(name), { graceMs, signal })
      await inPowerTurn(name, signal, async () => endQemu(folder.runPath(name)))
    },
    define: async (machine, { signal } = {}) =>
      inTurn(machine.name, signal, async () => {
        checkMachine(machine, config, uefi)
        const [longest] = socketsIn(folder.runPath(machine.name)).monitors
        if (Buffer.byteLength(longest) > MAX_SOCKET_PATH_BYTES)
          throw new FluidError('CLOUD_FAILED', `${longest} is too long for a socket`, {
            hint: 'Choose a shorter folder of machines in [clouds.qemu]',
          })
        await folder.add(machine)
      }),
    undefine: async (name, { disks, signal }) =>
      inPowerTurn(name, signal, async () => {
        const machine = await folder.described(name).catch(unknownIsFine)
        if (!machine) return
        if (await daemonProcess(folder.runPath(name)))
          throw new FluidError('CLOUD_FAILED', `${name} runs; stop it first`)
        if (disks) await removeImages(machine.disks)
        await folder.remove(name)
        await rm(folder.runPath(name), { recursive: true, force: true })
      }),
    async release(owner, { signal } = {}) {
      checkOwner(owner)
      for (const name of await folder.runNames())
        await inTurn(name, signal, async () => releaseIn(name, owner, signal))
    },
    // Every connection was closed after its use, and machines run on.
    async [Symbol.asyncDispose]() {
      for (const key of last.keys()) forget(key)
    },
  }
}

/** Disks of a machine that is stopped: nobody writes to them. */
async function stillSnapshot({ disks }: Machine, signal: AbortSignal | undefined): Promise<Snapshot> {
  await using stack = new AsyncDisposableStack()
  const shown: DiskSnapshot[] = []
  for (const { id, path, format, sizeBytes, readOnly } of disks) {
    if (readOnly) continue
    const epoch = await imageIdentity(path)
    let url: string
    if (format === 'raw') url = (await stat(path)).isBlockDevice() ? blockUrl(path) : fileUrl(path)
    else url = stack.use(await openQemuImage(path, format, { lanes: MAX_LANES, signal, others: 'any' })).url
    shown.push({ disk: id, sizeBytes, url, epoch })
  }
  const owned = stack.move()
  return { disks: shown, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

async function isHeld(qmp: Qmp): Promise<boolean> {
  const { running } = (await qmp.execute('query-status')) as { readonly running: boolean }
  return !running
}

function checkOwner(owner: string): void {
  if (!/^[0-9a-f]{32}$/.test(owner)) throw new TypeError(`${owner} is no owner's id`)
}

function unknownIsFine(error: unknown): undefined {
  if (error instanceof FluidError && error.code === 'MACHINE_UNKNOWN') return undefined
  throw error
}
