/** A folder with everything that is hard about files: sizes around blocks, holes, links, odd names, many names. */
import { chmod, link, mkdir, open, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Makes it in `folder`, which is empty. `names`: files in one large folder. */
export async function makeFolderTree(
  folder: string,
  { names = 300, trailingHole = true } = {},
): Promise<void> {
  const at = (...parts: string[]) => join(folder, ...parts)
  for (const size of [0, 1, 59, 60, 61, 100, 159, 160, 1023, 1024, 1025, 4095, 4096, 4097, 70_001, 1_100_000])
    await writeFile(at(`size-${size}`), pattern(size))
  await mkdir(at('etc', 'deep', 'er', 'still'), { recursive: true })
  await writeFile(at('etc', 'hostname'), 'old\n')
  await writeFile(at('etc', 'deep', 'er', 'still', 'file'), 'deep')
  await writeFile(at('etc', 'os-release'), 'ID=test\nPRETTY_NAME="A test"\nVERSION_ID="1"\n')
  await writeFile(at('etc', 'passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
  await writeFile(at('etc', 'secret'), 'key', { mode: 0o600 })
  await chmod(at('etc', 'passwd'), 0o4755)
  await link(at('etc', 'passwd'), at('etc', 'passwd-too'))
  for (const length of [1, 30, 59, 60, 61, 200, 1023]) await symlink('x'.repeat(length), at(`link-${length}`))
  await symlink('/etc/hostname', at('absolute'))
  await symlink('../../../../etc/hostname', at('etc', 'deep', 'er', 'up'))
  await symlink('loop', at('loop'))
  await mkdir(at('many'))
  for (let index = 0; index < names; index++)
    await writeFile(at('many', `file-${index}-${'n'.repeat(index % 200)}`), String(index))
  for (const name of ['grün und blau', '-rf', '*', "it's", '<12>', 'a;b', 'back\\slash', 'x'.repeat(255)])
    await writeFile(at(name), name)
  await writeHoles(at('holes'), trailingHole)
}

export function pattern(size: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: size }, (_, index) => (index * 31 + (index >> 8)) & 0xff))
}

async function writeHoles(path: string, trailing: boolean): Promise<void> {
  await using file = await open(path, 'w')
  for (const offset of [0, 100_000, 400_000, 900_000]) await file.write(pattern(5000), 0, 5000, offset)
  if (trailing) await file.truncate(1_500_000)
}
