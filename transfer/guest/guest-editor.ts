/** Makes and removes files through debugfs, each whole: under another name first, checked, then put in place. */
import { randomBytes } from 'node:crypto'
import { open, mkdtemp, rm, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FluidError } from '../../protocol/errors.ts'
import type { ExtAttribute } from './ext-xattr.ts'
import type { ExtInode } from './ext-inode.ts'
import { passedFile, quoted } from './guest-tool.ts'
import { extOf, type GuestTree, type Place } from './guest-tree.ts'
import type { GuestVolume } from './guest-volume.ts'

export interface Owner {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
}

export interface EditorParts {
  /** Runs commands of debugfs on a volume, with these files passed to it. */
  run(volume: GuestVolume, commands: readonly string[], files: readonly number[]): Promise<void>
  /** The files as they are now on the disk. */
  reopen(): Promise<GuestTree>
}

export interface GuestEditor {
  /** Throws GUEST_UNSUPPORTED, TARGET_WRITE, NO_SPACE. */
  write(tree: GuestTree, path: string, bytes: Uint8Array, owner: Owner): Promise<void>
  /** The same; fine when there was nothing. */
  remove(tree: GuestTree, path: string): Promise<void>
}

/** Folders that one file may need made. */
const MAX_NEW_FOLDERS = 32
const REGULAR = 0o100_000
/** Names of files that are not in their place yet; a run that was cut off may leave one. */
const STAGED = '.fluidcloud-edit-'

export function createGuestEditor({ run, reopen }: EditorParts): GuestEditor {
  /** Runs commands in a folder, then gives that folder as it is now. */
  const change = async (folder: Place, commands: readonly string[], files: readonly number[] = []) => {
    const { volume, inode } = folder
    await run(volume, [`cd <${inode.number}>`, ...commands], files)
    return again(folder)
  }
  const again = async (folder: Place): Promise<Place> => {
    const { mounts } = await reopen()
    const volume = mounts.find((mount) => mount.volume.name === folder.volume.name)?.volume ?? folder.volume
    return { ...folder, volume, inode: await extOf(volume).inode(folder.inode.number) }
  }

  return {
    async write(tree, path, bytes, owner) {
      const { place, parent, names } = await tree.walk(path, true)
      if (!parent || (place && place.inode.kind !== 'file')) throw notAFile(path)
      const folder = place ? parent : await makeFolders(parent, names.slice(0, -1), change)
      const name = names.at(-1) as string
      const old = place?.inode
      const staged = stagedNameFor(name)
      const attributes = old ? await extOf(folder.volume).attributes(old) : await labelOf(folder)
      const final = {
        mode: owner.mode ?? old?.mode ?? 0o644,
        uid: owner.uid ?? old?.uid ?? 0,
        gid: owner.gid ?? old?.gid ?? 0,
      }
      // Refused before anything is made.
      quoted(name)
      attributes.forEach((attribute) => quoted(attribute.name))
      await discardStaged(folder, change)
      const file = { bytes, ...final, attributes, old }
      const made = await stage(folder, staged, file, change).catch(async (error: unknown) => {
        await change(folder, [`rm ${quoted(staged)}`]).catch(() => {})
        throw error
      })
      const commands = [`unlink ${quoted(staged)}`, `ln <${made}> ${quoted(name)}`]
      const now = await change(folder, old ? [`rm ${quoted(name)}`, ...commands] : commands)
      const found = (await extOf(now.volume).entries(now.inode)).filter((entry) => entry.name === name)
      if (found.length !== 1 || found[0].inode !== made) throw notWritten(path, 'it is not in its place')
    },
    async remove(tree, path) {
      const { place, parent, names } = await tree.walk(path, false)
      if (!place) return
      if (!parent || place.inode.kind === 'directory')
        throw new FluidError('GUEST_UNSUPPORTED', `${path} is a folder, and is not removed`)
      const now = await change(parent, [`rm ${quoted(names[0])}`])
      if ((await extOf(now.volume).entries(now.inode)).some((entry) => entry.name === names[0]))
        throw notWritten(path, 'it is still there')
    },
  }
}

type Change = (folder: Place, commands: readonly string[], files?: readonly number[]) => Promise<Place>

async function makeFolders(parent: Place, names: readonly string[], change: Change): Promise<Place> {
  if (names.length > MAX_NEW_FOLDERS)
    throw new FluidError('LIMIT_EXCEEDED', `More than ${MAX_NEW_FOLDERS} folders would have to be made`)
  names.forEach(quoted)
  await using stack = new AsyncDisposableStack()
  const { commands, files } = await settingAttributes(await labelOf(parent), stack)
  let folder = parent
  for (const name of names) {
    const now = await change(folder, [`mkdir ${quoted(name)}`, ...commands(quoted(name))], files)
    const made = (await extOf(now.volume).entries(now.inode)).find((entry) => entry.name === name)
    if (!made) throw notWritten(`${now.path}/${name}`, 'the folder is not there')
    const inode = await extOf(now.volume).inode(made.inode)
    folder = { volume: now.volume, inode, path: now.path === '/' ? `/${name}` : `${now.path}/${name}` }
  }
  return folder
}

/** As long as the name that takes its room: `ln` of e2fsprogs before 1.47 makes none. */
function stagedNameFor(name: string): string {
  const digits = randomBytes(6).toString('hex')
  return STAGED + digits.padEnd(Buffer.byteLength(name) - STAGED.length, '0')
}

/** Takes away what a run that was cut off left in a folder. */
async function discardStaged(folder: Place, change: Change): Promise<void> {
  const entries = await extOf(folder.volume).entries(folder.inode)
  const left = entries.filter(
    ({ name }) => name.startsWith(STAGED) && /^[0-9a-f]{12,}$/.test(name.slice(STAGED.length)),
  )
  if (left.length > 0)
    await change(
      folder,
      left.map(({ name }) => `rm ${quoted(name)}`),
    )
}

interface StagedFile extends Required<Owner> {
  readonly bytes: Uint8Array
  readonly attributes: readonly ExtAttribute[]
  readonly old?: ExtInode
}

/** Makes a file in `folder`, and reads it back. Gives its inode. */
async function stage(folder: Place, name: string, file: StagedFile, change: Change): Promise<number> {
  const { bytes, mode, uid, gid, attributes, old } = file
  await using stack = new AsyncDisposableStack()
  // It takes its mode from the file it is copied from, which we must be able to read: it is never open to others before.
  const content = stack.use(await unnamedFile(bytes, mode | 0o400))
  const written = await change(folder, [`write ${passedFile(0)} ${quoted(name)}`], [content.fd])
  const number = (await extOf(written.volume).entries(written.inode)).find(
    (entry) => entry.name === name,
  )?.inode
  if (number === undefined) throw notWritten(name, 'it is not there')
  const flags = (await extOf(written.volume).inode(number)).flags | (old?.ownersFlags ?? 0)
  const setting = await settingAttributes(attributes, stack)
  const commands = [
    `sif <${number}> mode 0${(REGULAR | mode).toString(8)}`,
    `sif <${number}> uid ${uid}`,
    `sif <${number}> gid ${gid}`,
    `sif <${number}> flags 0x${(flags >>> 0).toString(16)}`,
    ...setting.commands(`<${number}>`),
  ]
  const { volume } = await change(folder, commands, setting.files)
  const ext = extOf(volume)
  const made = await ext.inode(number)
  const same =
    made.kind === 'file' &&
    made.mode === mode &&
    made.uid === uid &&
    made.gid === gid &&
    (await ext.content(made, bytes.length)).equals(bytes) &&
    sameAttributes(await ext.attributes(made), attributes)
  if (!same) throw notWritten(name, 'it reads back differently')
  return number
}

/** Commands that give attributes to a file, and the files with their values, which `stack` closes. */
async function settingAttributes(
  attributes: readonly ExtAttribute[],
  stack: AsyncDisposableStack,
): Promise<{ commands: (file: string) => string[]; files: number[] }> {
  const files: number[] = []
  for (const { value } of attributes) files.push(stack.use(await unnamedFile(value, 0o600)).fd)
  const commands = (file: string) =>
    attributes.map(({ name }, index) => `ea_set -r -f ${passedFile(index)} ${file} ${quoted(name)}`)
  return { commands, files }
}

/** What the kernel gives what is made in a folder under SELinux: without a label no service may read it. */
async function labelOf({ volume, inode }: Place): Promise<ExtAttribute[]> {
  return (await extOf(volume).attributes(inode)).filter(({ name }) => name === 'security.selinux')
}

/** Bytes in a file that has no name any more, so that nothing is left of it whatever happens. */
async function unnamedFile(bytes: Uint8Array, mode: number): Promise<FileHandle & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), `fluidcloud-${process.pid}-`))
  try {
    const handle = await open(join(folder, 'content'), 'wx+', 0o600)
    await rm(folder, { recursive: true })
    try {
      await handle.writeFile(bytes)
      await handle.chmod(mode)
      return handle
    } catch (error) {
      await handle.close()
      throw error
    }
  } catch (cause) {
    await rm(folder, { recursive: true, force: true })
    throw new FluidError('TARGET_WRITE', `Cannot write to ${tmpdir()}: ${(cause as Error).message}`, {
      cause,
    })
  }
}

function sameAttributes(found: readonly ExtAttribute[], wanted: readonly ExtAttribute[]): boolean {
  const values = new Map(found.map(({ name, value }) => [name, value]))
  return wanted.every(({ name, value }) => values.get(name)?.equals(value))
}

function notAFile(path: string): FluidError {
  return new FluidError('GUEST_UNSUPPORTED', `${path} cannot be a file there`)
}

function notWritten(path: string, why: string): FluidError {
  return new FluidError('TARGET_WRITE', `${path} was not written to the guest: ${why}`)
}
