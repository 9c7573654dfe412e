import { join } from 'node:path'
import test from 'ava'
import { createUndoLog, UNDO_ENTRY_BYTES } from '../../transfer/undo-log.ts'
import { openUndoWriter } from '../../transfer/undo-writer.ts'
import { losingFileSystem, noSmallFileSystems } from '../helpers/programs.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const SIZE_BYTES = 64 << 20

const loop = noSmallFileSystems() === undefined ? test : test.skip
loop(
  'sync() of what the disk lost fails, for all who wait for it and from then on (needs root)',
  async (t) => {
    const mount = await losingFileSystem(t, await tempDir(t), SIZE_BYTES)
    const path = join(mount, 'undo')
    await createUndoLog(path, { sizeBytes: SIZE_BYTES, mode: 0o600, inode: 1n })
    using log = openUndoWriter(path)
    using other = openUndoWriter(path)
    const append = (at: number) =>
      log.append(at * UNDO_ENTRY_BYTES, UNDO_ENTRY_BYTES, (room) => void room.fill(7))

    append(0)
    await Promise.all([log.sync(), log.sync()])
    for (let at = 1; at * UNDO_ENTRY_BYTES < 8 << 20; at++) append(at)
    const first = log.sync()
    first.catch(() => {})
    // Runs once it is asked for, so that these wait for another.
    await Promise.resolve()
    const told = await Promise.allSettled([first, log.sync(), log.sync()])
    t.deepEqual(
      told.map(({ status }) => status),
      ['rejected', 'rejected', 'rejected'],
    )
    const lost = { message: /did not reach the disk/ }
    await t.throwsAsync(log.sync(), lost)
    t.throws(() => append(0), lost)
    // Each lane has a descriptor of its own, and the system tells each.
    await t.throwsAsync(other.sync(), lost)
  },
)
