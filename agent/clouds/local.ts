/**
 * The `local` cloud: services of this host whose disks are raw files or block devices. A machine's `extra.start` is the
 * command that runs it, in the foreground; `extra.stop`, if there is one, asks it to end (else it gets SIGTERM). Both
 * get FLUIDCLOUD_MACHINE and, for each disk, FLUIDCLOUD_DISK_<ID> with its path. Pausing is SIGSTOP to all its
 * processes. Nothing tracks what they write: a running machine has no snapshot.
 */
import { execFile } from 'node:child_process'
import { rm, stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { FluidError } from '../../protocol/errors.ts'
import { blockUrl, fileUrl } from '../../transfer/open.ts'
import type { Cloud, MachineState, Snapshot } from './cloud.ts'
import type { Machine, MachineDisk } from '../../protocol/machine.ts'
import type { LocalCloudConfig } from './cloud-config.ts'
import { imageIdentity, imageMarks, removeImages, settleImage } from './image-file.ts'
import {
  type Command,
  continueService,
  forgetService,
  haltService,
  killService,
  serviceEnded,
  serviceProcesses,
  signalService,
  startService,
} from './service.ts'
import type { DescribedMachine } from './machine-file.ts'
import { openMachineFolder } from './machine-folder.ts'
import { createPowerTurns, createTurns } from './turns.ts'

const run = promisify(execFile)

/** Opens the folder of descriptions; it is made when it is missing. Throws CLOUD_FAILED. */
export async function openLocalCloud({ machines, programs }: LocalCloudConfig): Promise<Cloud> {
  const folder = await openMachineFolder(machines)
  const inTurn = createTurns()
  const inPowerTurn = createPowerTurns(machines)

  async function stateOf(name: string): Promise<MachineState> {
    const running = await serviceProcesses(folder.runPath(name))
    if (running.length === 0) return 'stopped'
    return running.every((facts) => facts.state === 'T') ? 'paused' : 'running'
  }

  return {
    kind: 'local',
    supports: { live: false, pause: true, formats: ['raw'], firmware: ['bios', 'uefi'] },
    machines: async () => folder.names(),
    machine: async (name) => folder.machine(name),
    async state(name) {
      await folder.described(name)
      return stateOf(name)
    },
    identity: async (name) => imageMarks((await folder.described(name)).disks),
    async snapshot(name, _owner, { signal } = {}) {
      signal?.throwIfAborted()
      const { disks } = await folder.machine(name)
      if ((await stateOf(name)) === 'running')
        throw new FluidError('CLOUD_FAILED', `${name} runs, and the local cloud cannot see what it writes`, {
          hint: 'Pause or stop it first: move it without --live',
        })
      return snapshotOf(disks)
    },
    async dirtyBytes(name) {
      await folder.described(name)
      return 0
    },
    pause: async (name, { signal } = {}) =>
      inTurn(name, signal, async () => {
        const { disks } = await folder.described(name)
        if ((await stateOf(name)) === 'stopped') throw new FluidError('CLOUD_FAILED', `${name} does not run`)
        await haltService(folder.runPath(name))
        for (const disk of disks) await settleImage(disk.path)
      }),
    resume: async (name, { signal } = {}) =>
      inTurn(name, signal, async () => {
        await folder.described(name)
        if ((await stateOf(name)) === 'stopped') throw new FluidError('CLOUD_FAILED', `${name} does not run`)
        await continueService(folder.runPath(name))
      }),
    start: async (name, { signal } = {}) =>
      inPowerTurn(name, signal, async () => {
        const machine = await folder.described(name)
        if ((await stateOf(name)) !== 'stopped') return
        const command = commandOf(machine, 'start', programs)
        if (!command) throw new FluidError('CLOUD_FAILED', `${name} has no extra.start`)
        await startService(await folder.runFolder(name), command)
      }),
    async stop(name, { graceMs, signal }) {
      signal?.throwIfAborted()
      const machine = await folder.described(name)
      // What is paused cannot be asked, and must not run on.
      if (graceMs > 0 && (await stateOf(name)) === 'running')
        await askToEnd(machine, folder.runPath(name), graceMs, programs, signal)
      await inPowerTurn(name, signal, async () => {
        await killService(folder.runPath(name))
        await forgetService(folder.runPath(name))
      })
    },
    define: async (machine, { signal } = {}) =>
      inTurn(machine.name, signal, async () => {
        for (const disk of machine.disks)
          if (disk.format !== 'raw')
            throw new FluidError('CLOUD_FAILED', `Disk ${disk.id} is ${disk.format}, local disks are raw`)
        commandOf(machine, 'start', programs)
        commandOf(machine, 'stop', programs)
        await folder.add(machine)
      }),
    undefine: async (name, { disks, signal }) =>
      inPowerTurn(name, signal, async () => {
        const machine = await folder.described(name).catch(unknownIsFine)
        if (!machine) return
        if ((await stateOf(name)) !== 'stopped')
          throw new FluidError('CLOUD_FAILED', `${name} runs; stop it first`)
        if (disks) await removeImages(machine.disks)
        await folder.remove(name)
        await rm(folder.runPath(name), { recursive: true, force: true })
      }),
    async release() {},
    async [Symbol.asyncDispose]() {},
  }
}

/** Asks, and waits for the end until `graceMs` have passed. */
async function askToEnd(
  machine: DescribedMachine,
  folder: string,
  graceMs: number,
  programs: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const end = performance.now() + graceMs
  const command = commandOf(machine, 'stop', programs)
  if (!command) await signalService(folder, 'SIGTERM')
  else {
    const [program, ...rest] = command.argv
    const env = { PATH: process.env.PATH, ...command.env }
    // Whatever it says, what counts is whether the service ends.
    await run(program, rest, { env, cwd: '/', timeout: graceMs, killSignal: 'SIGKILL', signal }).catch(
      () => {},
    )
  }
  await serviceEnded(folder, Math.max(0, end - performance.now()), signal)
}

async function snapshotOf(disks: readonly MachineDisk[]): Promise<Snapshot> {
  const shown = disks
    .filter((disk) => !disk.readOnly)
    .map(async ({ id, path, sizeBytes }) => {
      await settleImage(path)
      const url = (await stat(path)).isBlockDevice() ? blockUrl(path) : fileUrl(path)
      return { disk: id, sizeBytes, url, epoch: await imageIdentity(path) }
    })
  return { disks: await Promise.all(shown), async [Symbol.asyncDispose]() {} }
}

/** A command of the description. Throws CLOUD_FAILED when it is none, or its program is not one of `programs`. */
function commandOf(
  { name, disks, extra }: Pick<Machine, 'name' | 'extra'> & Pick<DescribedMachine, 'disks'>,
  key: 'start' | 'stop',
  programs: readonly string[],
): Command | undefined {
  const argv = extra?.[key]
  if (argv === undefined) return undefined
  if (!Array.isArray(argv) || argv.length === 0 || !argv.every((word) => typeof word === 'string'))
    throw new FluidError('CLOUD_FAILED', `extra.${key} of ${name} is not a list of words`)
  if (!programs.includes(argv[0]))
    throw new FluidError('CLOUD_FAILED', `This host does not let machines run ${JSON.stringify(argv[0])}`, {
      hint: 'The owner of this host can allow it: programs in [clouds.local] of config.toml',
    })
  const paths = disks.map(({ id, path }) => [
    `FLUIDCLOUD_DISK_${id.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`,
    path,
  ])
  return { argv, env: { FLUIDCLOUD_MACHINE: name, ...Object.fromEntries(paths) } }
}

function unknownIsFine(error: unknown): undefined {
  if (error instanceof FluidError && error.code === 'MACHINE_UNKNOWN') return undefined
  throw error
}
