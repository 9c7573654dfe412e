/** Formats this machine can write: raw always, qcow2 where qemu-utils is installed. */
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

export async function writableFormats(env: NodeJS.ProcessEnv = process.env): Promise<string[]> {
  const found = await Promise.all(
    ['qemu-img', 'qemu-nbd'].map((program) => isOnPath(program, env.PATH ?? '')),
  )
  return found.every(Boolean) ? ['raw', 'qcow2'] : ['raw']
}

/** Looked for only: to start a process takes an agent that starts 20 ms. */
async function isOnPath(program: string, path: string): Promise<boolean> {
  const folders = path.split(delimiter).filter((folder) => folder !== '')
  const found = folders.map((folder) => access(join(folder, program), constants.X_OK))
  return await Promise.any(found).then(
    () => true,
    () => false,
  )
}
