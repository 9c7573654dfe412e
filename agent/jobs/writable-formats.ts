/** Formats this machine can write: raw always, qcow2 where qemu-utils is installed. */
import { isInstalled } from '../../transfer/is-installed.ts'

export async function writableFormats(env: NodeJS.ProcessEnv = process.env): Promise<string[]> {
  const found = await Promise.all(['qemu-img', 'qemu-nbd'].map((program) => isInstalled(program, env.PATH)))
  return found.every(Boolean) ? ['raw', 'qcow2'] : ['raw']
}
