/** A `local` cloud with machines whose service counts into their disk, so that it shows whether they ran. */
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cloud } from '../../agent/clouds/cloud.ts'
import type { Machine } from '../../protocol/machine.ts'
import type { CloudsConfig } from '../../agent/clouds/cloud-config.ts'
import { openLocalCloud } from '../../agent/clouds/local.ts'
import { tempDir, type Owner } from './temp-dir.ts'

export const MACHINE_DISK_BYTES = 65_536

export interface LocalStage {
  readonly cloud: Cloud
  readonly clouds: CloudsConfig
  readonly folder: string
  /** The service, as a machine's `extra.start`. */
  readonly program: string
  /** A machine, defined, with a disk of zeros. */
  machine(name: string): Promise<Machine>
  /** How often the service of that machine has counted. */
  count(name: string): Promise<number>
  /** When it counted last, ms as performance.now() tells them. */
  countedAt(name: string): Promise<number>
}

/** Opens it in a folder of its own; whatever runs ends with the test. Linux only. */
export async function localStage(t: Owner): Promise<LocalStage> {
  const folder = await tempDir(t)
  const program = join(folder, 'service')
  const counts = join(folder, 'counts')
  await mkdir(counts)
  await writeFile(
    program,
    `#!/bin/sh\nwhile :; do printf x >> "${counts}/$FLUIDCLOUD_MACHINE"; sleep 0.01; done\n`,
  )
  await chmod(program, 0o700)
  const local = { machines: join(folder, 'machines'), programs: [program] }
  const cloud = await openLocalCloud(local)
  t.teardown(async () => {
    for (const name of await cloud.machines()) await cloud.stop(name, { graceMs: 0 })
    await cloud[Symbol.asyncDispose]()
  })
  return {
    cloud,
    clouds: { local },
    folder,
    program,
    async machine(name) {
      const path = join(folder, `${name}.raw`)
      await writeFile(path, Buffer.alloc(MACHINE_DISK_BYTES))
      const machine: Machine = {
        name,
        architecture: 'x86_64',
        vcpus: 1,
        memoryBytes: 2 ** 20,
        firmware: 'bios',
        chipset: 'q35',
        disks: [
          {
            id: 'vda',
            path,
            format: 'raw',
            sizeBytes: MACHINE_DISK_BYTES,
            boot: true,
            bus: 'virtio',
            readOnly: false,
          },
        ],
        nics: [],
        extra: { start: [program] },
      }
      await cloud.define(machine)
      return machine
    },
    async count(name) {
      await readFile(program)
      return (await stat(join(counts, name)).catch(() => undefined))?.size ?? 0
    },
    async countedAt(name) {
      return (await stat(join(counts, name))).mtimeMs - performance.timeOrigin
    },
  }
}
