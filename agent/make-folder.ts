/**
 * Makes a folder, and those above it that are missing, for its owner alone.
 *
 * Not by mkdir's own recursion: that goes on for ever where a folder is there and lets nothing be made in it but says that
 * the path does not exist, as /proc does.
 */
import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** `path` is absolute; a folder that is there keeps its mode. Throws what mkdir() throws. */
export async function makeFolder(path: string): Promise<void> {
  const failure = await tryMake(path)
  if (failure === undefined) return
  const above = dirname(path)
  if (failure.code !== 'ENOENT' || (await isFolder(above))) throw failure
  await makeFolder(above)
  const again = await tryMake(path)
  if (again) throw again
}

/** What mkdir() failed with; nothing when the folder is there now. */
async function tryMake(path: string): Promise<NodeJS.ErrnoException | undefined> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    const failure = error as NodeJS.ErrnoException
    return failure.code === 'EEXIST' && (await isFolder(path)) ? undefined : failure
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
}
