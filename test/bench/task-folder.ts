/** A new folder for one run, with targets of gigabytes in it: removed after it, also when the benchmark is interrupted. */
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bench } from './cases/case.ts'

/** Runs `task` in a new folder below the target, with memory at hand for all that it starts. */
export async function inTaskFolder<T>(
  { options, memory }: Pick<Bench, 'options' | 'memory'>,
  task: (folder: string) => Promise<T>,
): Promise<T> {
  await using folder = await taskFolder(options.target)
  try {
    return await memory.during(() => task(folder.path))
  } finally {
    await memory.takeBack(folder.path)
  }
}

/** A new folder under `parent`. */
export async function taskFolder(parent: string): Promise<{ path: string } & AsyncDisposable> {
  await mkdir(parent, { recursive: true })
  const path = await mkdtemp(join(parent, 'fluidcloud-bench-'))
  const remove = (): void => rmSync(path, { recursive: true, force: true })
  process.once('exit', remove)
  return {
    path,
    async [Symbol.asyncDispose]() {
      process.off('exit', remove)
      await rm(path, { recursive: true, force: true })
    },
  }
}
