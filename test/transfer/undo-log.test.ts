import { open, readFile, stat, writeFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createUndoLog, openUndoLog, UNDO_HEADER_BYTES } from '../../transfer/undo-log.ts'
import { openUndoWriter } from '../../transfer/undo-writer.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const BLOCK_BYTES = 4096
const BLOCKS = 100

/** A version of BLOCKS blocks that was overwritten, and its undo log with an entry for each block. */
async function overwritten(t: ExecutionContext) {
  const folder = await tempDir(t)
  const [path, undo] = [join(folder, 'disk'), join(folder, 'undo')]
  const old = Buffer.concat(Array.from({ length: BLOCKS }, (_, i) => Buffer.alloc(BLOCK_BYTES, i + 1)))
  await writeFile(path, Buffer.alloc(old.length, 'new'))
  const { ino } = await stat(path, { bigint: true })
  await createUndoLog(undo, { sizeBytes: old.length, mode: 0o600, inode: ino })
  using log = openUndoWriter(undo)
  for (let at = 0; at < old.length; at += BLOCK_BYTES)
    log.append(at, BLOCK_BYTES, (room) => void old.copy(room, 0, at, at + BLOCK_BYTES))
  await log.sync()
  return { path, undo, old }
}

/** Has reads of the file at `path` go as at a bad page: those from before it end there, and one that begins there fails. */
async function breakPage(t: ExecutionContext, path: string, from: number): Promise<void> {
  const { ino } = await stat(path)
  await using any = await open(path)
  const handles = Object.getPrototypeOf(any) as FileHandle
  const read = handles.read as (...all: unknown[]) => Promise<{ bytesRead: number }>
  t.teardown(() => Object.assign(handles, { read }))
  Object.assign(handles, {
    async read(this: FileHandle, target: Buffer, offset: number, length: number, position: number) {
      const isBad = (await this.stat()).ino === ino && position < from + BLOCK_BYTES
      if (isBad && position >= from) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
      return await read.call(
        this,
        target,
        offset,
        isBad ? Math.min(length, from - position) : length,
        position,
      )
    },
  })
}

test.serial('restore() puts back what was overwritten', async (t) => {
  const { path, undo, old } = await overwritten(t)
  await using log = await openUndoLog(undo)
  await using file = await open(path, 'r+')
  await log.restore(file, () => t.fail())
  t.true((await readFile(path)).equals(old))
})

test.serial('restore() throws where the log cannot be read, and takes nothing for its end', async (t) => {
  const { path, undo } = await overwritten(t)
  await breakPage(t, undo, UNDO_HEADER_BYTES + 20 * BLOCK_BYTES)
  await using log = await openUndoLog(undo)
  await using file = await open(path, 'r+')
  await t.throwsAsync(
    log.restore(file, () => t.fail()),
    { code: 'TARGET_WRITE', message: /undo log/ },
  )
})
