/** Guests on disks of their own: the contents that the conformance suite names, in a file system made without root. */
import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import type { GuestContent } from '../../transfer/migrators/memory-guest.ts'
import { debugfs, makeExt, type ExtImage } from './guest-image.ts'

/** Makes a file system in `image` with these files, owners and modes. `folder`: for what has to be copied. */
export async function makeGuestDisk(
  image: string,
  folder: string,
  contents: Readonly<Record<string, GuestContent>>,
  made: ExtImage = {},
): Promise<void> {
  await makeExt(image, made)
  const folders = new Set<string>()
  const commands: string[] = []
  const above = (path: string) => {
    const parts = path.split('/').slice(1, -1)
    for (let depth = 1; depth <= parts.length; depth++) folders.add(`/${parts.slice(0, depth).join('/')}`)
  }
  for (const [path, content] of Object.entries(contents)) {
    above(path)
    const name = JSON.stringify(path.slice(path.lastIndexOf('/') + 1))
    commands.push(`cd "${path.slice(0, path.lastIndexOf('/')) || '/'}"`)
    if (typeof content === 'object' && 'linksTo' in content)
      commands.push(`symlink ${name} "${content.linksTo}"`)
    else if (typeof content === 'object' && 'folder' in content) {
      commands.push(`mkdir ${name}`, `sif ${name} mode 040${(content.mode ?? 0o755).toString(8)}`)
    } else {
      const { content: bytes, mode = 0o644, uid = 0, gid = 0 } = plain(content)
      const copy = join(folder, `content-${commands.length}`)
      await writeFile(copy, bytes)
      commands.push(`write "${copy}" ${name}`, `sif ${name} mode 0100${mode.toString(8)}`)
      commands.push(`sif ${name} uid ${uid}`, `sif ${name} gid ${gid}`)
    }
  }
  const first = [...folders].map((path) => `mkdir "${path}"`)
  await debugfs(image, [...first, ...commands], made.offset)
}

function plain(content: GuestContent): Extract<GuestContent, { content: unknown }> {
  if (typeof content === 'string' || content instanceof Uint8Array) return { content }
  return content as Extract<GuestContent, { content: unknown }>
}
