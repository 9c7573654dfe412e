/** Formats this machine can write: raw always, qcow2 where qemu-utils is installed. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)
const PROBE_TIMEOUT_MS = 5_000

export async function writableFormats(): Promise<string[]> {
  const probes = ['qemu-img', 'qemu-nbd'].map((program) =>
    run(program, ['--version'], { timeout: PROBE_TIMEOUT_MS }),
  )
  const found = await Promise.all(probes).then(
    () => true,
    () => false,
  )
  return found ? ['raw', 'qcow2'] : ['raw']
}
