/** The sink of a staged file: raw, changed in place, or an image behind a server of its own. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { FluidError } from '../protocol/errors.ts'
import { QEMU_STOP_TIMEOUT_MS } from '../protocol/limits.ts'
import { adoptedUrl, openAdoptedSink } from './adopted-sink.ts'
import { openNbdSink } from './backends/nbd.ts'
import { openQcow2 } from './backends/qemu-image.ts'
import type { QemuNbd } from './backends/qemu-nbd.ts'
import { openRawSink } from './backends/raw.ts'
import type { FileDestination, PlacementOptions } from './destination.ts'
import { pathIn, type DestinationFolder } from './destination-name.ts'
import { fileUrl } from './open.ts'
import type { Sink } from './sink.ts'
import type { StagingNames } from './staging-files.ts'
import { openUndoLog } from './undo-log.ts'

const SECTOR_BYTES = 512
/** Between attempts to open a qcow2 that the qemu-nbd of a killed agent still flushes. */
const BUSY_RETRY_MS = 50

/** A sink that is open in this thread, and where others open theirs. */
export interface StagedSink {
  readonly url: string
  readonly sink: Sink
  /** Of an image: ended when nothing has it open any more. */
  readonly server?: QemuNbd
}

/** Of the version there, which is changed itself. */
export async function openAdopted(folder: DestinationFolder, names: StagingNames): Promise<StagedSink> {
  const undo = pathIn(folder, names.undo)
  await using log = await openUndoLog(undo)
  const file = {
    part: pathIn(folder, names.part),
    undo,
    soundBytes: await log.soundBytes(),
    former: join(folder.path, folder.leaf),
  }
  return { url: adoptedUrl(file), sink: await openAdoptedSink(file) }
}

/** Of a file of its own. Throws TARGET_WRITE when that is of another size. */
export async function openStagedSink(
  folder: DestinationFolder,
  part: string,
  destination: FileDestination,
  options: PlacementOptions,
): Promise<StagedSink> {
  if (destination.format === 'raw') {
    const path = pathIn(folder, part)
    return { url: fileUrl(path), sink: await openRawSink(path) }
  }
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await serveWhenFree(pathIn(folder, part, process.pid), options))
  const sink = stack.use(await openNbdSink(server.url, options))
  const expectedBytes = inSectors(options.sizeBytes)
  if (sink.sizeBytes !== expectedBytes) {
    const message = `Cannot resume from ${join(folder.path, part)}: it holds ${sink.sizeBytes} bytes and the volume ${options.sizeBytes}`
    throw new FluidError('TARGET_WRITE', message, { hint: 'Cancel the job and start it again' })
  }
  stack.move()
  return { url: server.url, sink, server }
}

/** A killed agent's qemu-nbd holds the image until it has flushed. */
async function serveWhenFree(image: string, { lanes, signal }: PlacementOptions): Promise<QemuNbd> {
  const late = AbortSignal.timeout(QEMU_STOP_TIMEOUT_MS)
  while (true) {
    try {
      return await openQcow2(image, { lanes, signal })
    } catch (error) {
      if (!(error instanceof FluidError) || error.code !== 'NAME_BUSY' || late.aborted) throw error
      await delay(BUSY_RETRY_MS, undefined, { signal })
    }
  }
}

/** What an image of a volume holds: whole sectors, bytes. */
export function inSectors(sizeBytes: number): number {
  return Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES
}
