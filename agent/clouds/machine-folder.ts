/** A folder of machines' descriptions, NAME.toml each. It is the truth about which machines a cloud has. */
import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { FluidError } from '../../protocol/errors.ts'
import { renameNoReplace } from '../../transfer/linux.ts'
import type { Machine, MachineDisk } from '../../protocol/machine.ts'
import { imageSize, requireWhole } from './image-size.ts'
import { type DescribedMachine, formatMachine, isMachineName, parseMachine } from './machine-file.ts'

const MAX_DESCRIPTION_BYTES = 256 * 1024
/** Socket paths have to fit into 107 bytes, so what lies here has short names. */
const RUN = '.run'

export interface MachineFolder {
  /** In order. */
  names(): Promise<string[]>
  /** Throws MACHINE_UNKNOWN, CONFIG_INVALID. */
  described(name: string): Promise<DescribedMachine>
  /** With the sizes of its disks. Throws MACHINE_UNKNOWN, CONFIG_INVALID, CLOUD_FAILED when a disk cannot be read. */
  machine(name: string): Promise<Machine>
  /** Throws CLOUD_FAILED when the name is taken, or a disk is not there or smaller than described. */
  add(machine: Machine): Promise<void>
  /** False when there was none. */
  remove(name: string): Promise<boolean>
  /** Where what belongs to the running machine lies; made when it is missing. */
  runFolder(name: string): Promise<string>
  runPath(name: string): string
  /** Names that have a run folder, whether or not a description is left. */
  runNames(): Promise<string[]>
}

/** The folder at `path`, made when it is missing. */
export async function openMachineFolder(path: string): Promise<MachineFolder> {
  await mkdir(join(path, RUN), { recursive: true, mode: 0o700 }).catch((cause: Error) => {
    throw new FluidError('CLOUD_FAILED', `Making ${path} failed: ${cause.message}`, { cause })
  })
  const fileOf = (name: string) => join(path, `${name}.toml`)
  const described = async (name: string) => {
    const text = isMachineName(name) ? await readBounded(fileOf(name)) : undefined
    if (text === undefined)
      throw new FluidError('MACHINE_UNKNOWN', `No machine ${JSON.stringify(name.slice(0, 64))} in ${path}`)
    return parseMachine(name, text)
  }
  return {
    async names() {
      const files = (await readdir(path)).filter((file) => file.endsWith('.toml'))
      return files
        .map((file) => file.slice(0, -'.toml'.length))
        .filter(isMachineName)
        .toSorted()
    },
    described,
    async machine(name) {
      const { disks, ...rest } = await described(name)
      return { ...rest, disks: await Promise.all(disks.map(measured)) }
    },
    async add(machine) {
      const disks = machine.disks.map(({ sizeBytes: _, ...disk }) => disk)
      const text = formatMachine({ ...machine, disks })
      await requireWhole(machine.disks)
      for (const { path: disk, format, sizeBytes } of machine.disks) {
        const found = await imageSize(disk, format)
        if (found < sizeBytes)
          throw new FluidError(
            'CLOUD_FAILED',
            `Disk ${disk} has ${found} bytes, the machine wants ${sizeBytes}`,
          )
      }
      await publish(text, fileOf(machine.name), machine.name, path)
    },
    async remove(name) {
      if (!isMachineName(name)) return false
      try {
        await rm(fileOf(name))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
        throw error
      }
      await syncFolder(path)
      return true
    },
    async runFolder(name) {
      const folder = join(path, RUN, name)
      await mkdir(folder, { recursive: true, mode: 0o700 })
      return folder
    },
    runPath: (name) => join(path, RUN, name),
    async runNames() {
      return (await readdir(join(path, RUN))).filter(isMachineName).toSorted()
    },
  }
}

async function measured(disk: DescribedMachine['disks'][number]): Promise<MachineDisk> {
  const { id, path, format, ...rest } = disk
  return { id, path, format, sizeBytes: await imageSize(path, format), ...rest }
}

async function readBounded(path: string): Promise<string | undefined> {
  try {
    const text = await readFile(path, 'utf8')
    if (text.length <= MAX_DESCRIPTION_BYTES) return text
    throw new FluidError(
      'CONFIG_INVALID',
      `${path} has ${text.length} characters, which no description needs`,
    )
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** The whole file under its name or none, and never in place of another. */
async function publish(text: string, path: string, name: string, folder: string): Promise<void> {
  const staged = join(folder, `.${randomUUID()}.new`)
  try {
    const file = await open(staged, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await renameNoReplace(staged, path)
  } catch (cause) {
    await rm(staged, { force: true })
    const taken = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    const why = taken ? `There is a machine ${name} already` : `Writing ${path} failed: ${String(cause)}`
    throw new FluidError('CLOUD_FAILED', why, { cause })
  }
  await syncFolder(folder)
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
