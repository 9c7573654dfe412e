/**
 * Where a third party's Migrator lies in the operator's folder: an executable NAME, or an npm package
 * node_modules/fluidcloud-migrator-NAME, which runs in a Node of its own that reads nothing but the package.
 */
import { constants } from 'node:fs'
import { access, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FluidError } from '../../protocol/errors.ts'
import type { ExternalCommand } from './external-session.ts'

const PREFIX = 'fluidcloud-migrator-'
const RUNNER = fileURLToPath(new URL('package-runner.ts', import.meta.url))
const MEMORY_MIB = 512
const NODE_MEMORY_MIB = 256

/** Throws MIGRATOR_FAILED when it is allowed and not there. */
export async function findExternal(folder: string, name: string): Promise<ExternalCommand> {
  if (!/^[a-z0-9-]{1,64}$/.test(name)) throw new RangeError('A name of a Migrator')
  const executable = join(folder, name)
  if (await isExecutable(executable)) return { name, command: [executable], memoryMiB: MEMORY_MIB }
  const pack = join(folder, 'node_modules', PREFIX + name)
  if (await stat(join(pack, 'package.json')).catch(() => undefined)) {
    const real = await realpath(pack)
    const ours = dirname(dirname(dirname(RUNNER)))
    const command = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      `--max-old-space-size=${NODE_MEMORY_MIB}`,
      '--permission',
      // Its own files, what it depends on, and the runner.
      ...[
        join(folder, 'node_modules'),
        real,
        join(ours, 'transfer/migrators'),
        join(ours, 'package.json'),
      ].map((path) => `--allow-fs-read=${path}`),
      RUNNER,
      real,
    ]
    return { name, command }
  }
  throw new FluidError('MIGRATOR_FAILED', `Migrator ${name} is allowed, and is not in ${folder}`, {
    hint: `Put an executable ${name} there, or npm install --prefix ${folder} ${PREFIX}${name}`,
  })
}

async function isExecutable(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  if (!found?.isFile()) return false
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}
