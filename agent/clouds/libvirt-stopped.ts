/** Snapshots of a domain that is shut off: its images as they lie, read-only. */
import { stat } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_LANES } from '../../protocol/limits.ts'
import { fingerprintOf, openQemuImage } from '../../transfer/backends/qemu-image.ts'
import { blockUrl, fileUrl } from '../../transfer/open.ts'
import type { DiskSnapshot, Snapshot } from './cloud.ts'
import { imageIdentity, settleImage } from './image-file.ts'
import type { DomainDisk } from './libvirt-domain.ts'

interface StoppedDomain {
  readonly name: string
  readonly disks: readonly DomainDisk[]
  /** By target. */
  readonly sizes: ReadonlyMap<string, number>
}

/** Throws CLOUD_FAILED for an image that cannot be read. */
export async function openStoppedSnapshot(
  { name, disks, sizes }: StoppedDomain,
  signal: AbortSignal | undefined,
): Promise<Snapshot> {
  await using stack = new AsyncDisposableStack()
  const shown: DiskSnapshot[] = []
  for (const { id, target, path, format, readOnly } of disks) {
    if (readOnly) continue
    const facts = { disk: id, sizeBytes: sizes.get(target) ?? 0 }
    try {
      await settleImage(path)
      if (format === 'raw') {
        const url = (await stat(path)).isBlockDevice() ? blockUrl(path) : fileUrl(path)
        shown.push({ ...facts, url, epoch: await imageIdentity(path) })
        continue
      }
      const image = stack.use(await openQemuImage(path, 'qcow2', { lanes: MAX_LANES, signal, others: 'any' }))
      const onDevice = (await stat(path)).isBlockDevice()
      shown.push({
        ...facts,
        url: image.url,
        epoch: onDevice ? await imageIdentity(path) : await fingerprintOf(image.files),
      })
    } catch (cause) {
      signal?.throwIfAborted()
      throw new FluidError(
        'CLOUD_FAILED',
        `Reading disk ${id} of ${name} failed: ${(cause as Error).message}`,
        {
          cause,
          hint: `The agent needs to read ${path} while the machine is stopped`,
        },
      )
    }
  }
  const owned = stack.move()
  return { disks: shown, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
