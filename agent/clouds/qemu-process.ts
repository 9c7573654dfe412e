/** The QEMU of one machine: started, asked, stopped. It outlives the agent. */
import { rm } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import type { MachineState } from './cloud.ts'
import type { QemuCloudConfig } from './cloud-config.ts'
import type { DescribedMachine } from './machine-file.ts'
import { hasEnded, signalProcess } from './processes.ts'
import { qemuArguments, socketsIn } from './qemu-arguments.ts'
import { findUefi, uefiFor } from './qemu-firmware.ts'
import { openQmp, type Qmp } from './qmp.ts'
import { daemonProcess, forgetService, killService, startDaemon } from './service.ts'

const PROGRAM = 'qemu-system-x86_64'
/** Time for QEMU to flush its images and end when it is told to; after that it loses its power as a machine would. */
const QUIT_TIMEOUT_MS = 5_000

/** Starts it in `folder`, where its sockets will be. Throws CLOUD_FAILED with what QEMU said. */
export async function startQemu(
  machine: DescribedMachine,
  config: QemuCloudConfig,
  folder: string,
): Promise<void> {
  const uefi = machine.firmware === 'uefi' ? await findUefi() : undefined
  const args = await qemuArguments(machine, config, socketsIn(folder), uefi && (await uefiFor(folder, uefi)))
  await startDaemon(folder, { argv: [PROGRAM, ...args], env: {} })
}

/** A connection to its monitor; undefined when it does not run. */
export async function openMachineQmp(folder: string, signal?: AbortSignal): Promise<Qmp | undefined> {
  if (!(await daemonProcess(folder))) return undefined
  try {
    return await openQmp(socketsIn(folder).monitors, { signal })
  } catch (error) {
    // It may have ended just now.
    if (!(await daemonProcess(folder))) return undefined
    throw error
  }
}

export async function qemuState(folder: string, signal?: AbortSignal): Promise<MachineState> {
  await using qmp = await openMachineQmp(folder, signal)
  if (!qmp) return 'stopped'
  const { running } = (await qmp.execute('query-status')) as { running: boolean }
  return running ? 'running' : 'paused'
}

/** Asks the guest to shut down, and waits until QEMU has ended or `graceMs` have passed; one that is paused cannot be asked. */
export async function askQemuToEnd(
  folder: string,
  { graceMs, signal }: { graceMs: number; signal?: AbortSignal },
): Promise<void> {
  const end = performance.now() + graceMs
  const qemu = await daemonProcess(folder)
  const asked = qemu && (await askGuest(folder, signal).catch(() => false))
  signal?.throwIfAborted()
  if (asked) await hasEnded(qemu, end, signal)
}

/** Ends QEMU now. Needs no monitor: it flushes its images and ends on SIGTERM, whoever else speaks to it. */
export async function endQemu(folder: string): Promise<void> {
  const qemu = await daemonProcess(folder)
  if (qemu && (await signalProcess(qemu, 'SIGTERM')))
    await hasEnded(qemu, performance.now() + QUIT_TIMEOUT_MS)
  await killService(folder)
  await forgetService(folder)
  const { monitors, nbd, pidFile } = socketsIn(folder)
  for (const path of [...monitors, nbd, pidFile]) await rm(path, { force: true })
}

/** False for a machine that is paused: it would have to run on to hear. */
async function askGuest(folder: string, signal?: AbortSignal): Promise<boolean> {
  await using qmp = await openMachineQmp(folder, signal)
  if (!qmp) return false
  const { running } = (await qmp.execute('query-status')) as { running: boolean }
  if (running) await qmp.execute('system_powerdown')
  return running
}

/** Stops the processors, or lets them go on. Throws CLOUD_FAILED when the machine does not run. */
export async function holdQemu(folder: string, hold: boolean, signal?: AbortSignal): Promise<void> {
  await using qmp = await openMachineQmp(folder, signal)
  if (!qmp) throw new FluidError('CLOUD_FAILED', 'The machine does not run')
  await qmp.execute(hold ? 'stop' : 'cont')
}
