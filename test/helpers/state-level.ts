/** A state database of a test's own, as the agent and its lane workers open it. */
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { StateLevel } from '../../transfer/chunk-index.ts'
import { tempDir, type Owner } from './temp-dir.ts'

/** An open database in a folder that goes with the test, and its path for other openers. */
export async function stateLevel(owner: Owner): Promise<{ level: StateLevel; path: string }> {
  const path = join(await tempDir(owner), 'state')
  const level = new ClassicLevel<Uint8Array, Uint8Array>(path, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    multithreading: true,
  })
  await level.open()
  owner.teardown(() => level.close())
  return { level, path }
}
