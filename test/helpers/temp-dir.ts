/** A folder of a test's own, removed when the test ends. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

/** Ends what was opened for it: a test. */
export type Owner = Pick<ExecutionContext, 'teardown'>

/** Makes an empty folder under `parent` (the system's own by default) and returns its absolute path. */
export async function tempDir(owner: Owner, parent = tmpdir()): Promise<string> {
  const path = await mkdtemp(join(parent, 'fct-'))
  owner.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}
