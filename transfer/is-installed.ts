/** Whether a program is there, without running it: to start a process takes an agent that starts 20 ms. */
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

/** True when `program` can be run from a folder of `path`, as in PATH, or from one of `folders`. */
export async function isInstalled(
  program: string,
  path: string | undefined,
  folders: readonly string[] = [],
): Promise<boolean> {
  const all = [...(path ?? '').split(delimiter).filter((folder) => folder !== ''), ...folders]
  const found = all.map((folder) => access(join(folder, program), constants.X_OK))
  return await Promise.any(found).then(
    () => true,
    () => false,
  )
}
