/**
 * The folder of one owner among libvirt's images: sockets and scratch files of its backup jobs, and for each domain the name
 * of the checkpoint up to which the owner has everything.
 */
import type { Element } from '@xmldom/xmldom'
import { createHash } from 'node:crypto'
import { chmod, chown, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FluidError } from '../../protocol/errors.ts'
import { errnoOf } from '../../transfer/backends/bounds.ts'
import { all, attr, first, text } from './libvirt-xml.ts'

/** sockaddr_un holds 108 bytes with the final NUL. */
const MAX_SOCKET_PATH_BYTES = 107

export interface OwnerFolder {
  readonly path: string
  /** Where one snapshot of the domain is served; its scratch files begin with the same name. */
  socket(uuid: string, tag: string): string
  /** Makes it, for the QEMU of this domain to use. Throws CLOUD_FAILED. */
  make(domain: Element): Promise<void>
  /** A file with `content` for virsh to read. */
  write(uuid: string, kind: string, content: string): Promise<string>
  /** Name of the checkpoint of the last snapshot that was disposed. */
  base(uuid: string): Promise<string | undefined>
  /** Does nothing when the folder is gone. */
  setBase(uuid: string, checkpoint: string): Promise<void>
  remove(): Promise<void>
}

/** The folder of `owner` below `images`; nothing is made yet. */
export function ownerFolder(images: string, owner: string): OwnerFolder {
  const path = join(images, `.fluidcloud-${owner}`)
  const of = (uuid: string, what: string) =>
    join(path, `${createHash('sha256').update(uuid).digest('hex').slice(0, 12)}.${what}`)
  return {
    path,
    socket(uuid, tag) {
      const socket = of(uuid, tag)
      if (Buffer.byteLength(socket) <= MAX_SOCKET_PATH_BYTES) return socket
      throw new FluidError('CLOUD_FAILED', `The path of a socket in ${images} is too long: ${socket}`, {
        hint: 'Name a shorter folder as images in [clouds.libvirt]',
      })
    },
    async make(domain) {
      try {
        // Not for others; the group is that of `images` where its setgid bit says so.
        await mkdir(path, { mode: 0o770 }).catch(existsIsFine)
        await chmod(path, (await stat(images)).mode & 0o2000 ? 0o2770 : 0o770)
        const owner = process.geteuid?.() === 0 ? qemuOwner(domain) : undefined
        if (owner) await chown(path, owner.uid, owner.gid)
      } catch (cause) {
        throw new FluidError('CLOUD_FAILED', `Making ${path} failed: ${(cause as Error).message}`, {
          cause,
          hint: `The agent needs to make a folder in ${dirname(path)}: images in [clouds.libvirt]`,
        })
      }
    },
    async write(uuid, kind, content) {
      const file = of(uuid, kind)
      await writeFile(file, content, { mode: 0o600 })
      return file
    },
    base: async (uuid) => readFile(of(uuid, 'base'), 'utf8').catch(() => undefined),
    async setBase(uuid, checkpoint) {
      try {
        await writeFile(of(uuid, 'base.new'), checkpoint, { mode: 0o600 })
        await rename(of(uuid, 'base.new'), of(uuid, 'base'))
      } catch (error) {
        // Removed by release(): then there is nothing to tell from.
        if (errnoOf(error) !== 'ENOENT') throw error
      }
    },
    remove: async () => rm(path, { recursive: true, force: true }),
  }
}

/** Whom the QEMU of a running domain runs as: libvirt's label of the model dac, +UID:+GID. */
function qemuOwner(domain: Element): { uid: number; gid: number } | undefined {
  const label = all(domain, 'seclabel').find((element) => attr(element, 'model') === 'dac')
  const [, uid, gid] = /^\+(\d+):\+(\d+)$/.exec(text(first(label, 'label')) ?? '') ?? []
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) }
}

function existsIsFine(error: unknown): void {
  if (errnoOf(error) !== 'EEXIST') throw error
}
