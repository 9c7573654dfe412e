/** Compares a file system that we read with the folder it was made from. */
import { lstat, readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { EXT_ROOT, type ExtVolume } from '../../transfer/guest/ext-volume.ts'

/** Asserts that every name, kind, mode, owner, size, link and byte is the same, and that there is nothing more. */
export async function sameTree(t: ExecutionContext, volume: ExtVolume, folder: string): Promise<void> {
  t.true((await compare(t, volume, EXT_ROOT, folder)) > 0)
}

async function compare(
  t: ExecutionContext,
  volume: ExtVolume,
  number: number,
  folder: string,
): Promise<number> {
  const found = new Map(
    (await volume.entries(await volume.inode(number))).map(({ name, inode }) => [name, inode]),
  )
  found.delete('lost+found')
  const names = await readdir(folder)
  t.deepEqual([...found.keys()].toSorted(), names.toSorted(), folder)
  let count = names.length
  for (const name of names) {
    const path = join(folder, name)
    const inode = await volume.inode(found.get(name) as number)
    const wanted = await lstat(path)
    t.is(inode.mode, wanted.mode & 0o7777, path)
    t.is(inode.uid, wanted.uid, path)
    if (wanted.isDirectory()) {
      t.is(inode.kind, 'directory', path)
      count += await compare(t, volume, inode.number, path)
    } else if (wanted.isSymbolicLink()) {
      t.is(await volume.target(inode), await readlink(path), path)
    } else {
      t.is(inode.sizeBytes, wanted.size, path)
      t.true((await volume.content(inode, 1e8)).equals(await readFile(path)), path)
    }
  }
  return count
}
