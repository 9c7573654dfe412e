/**
 * Keeps the machine's free memory small while contenders run, so that pages they take are ones it has at hand.
 *
 * On a virtual machine whose free pages go back to the host (virtio-balloon's free page reporting) each new page of a
 * file on tmpfs costs a fault on the host: up to 2 s a GiB, and another figure every minute. That is the host's speed and
 * not a contender's. So a program (held-memory.c) holds what is free, and gives it back as fast as a contender takes
 * memory; what it gives is what the kernel gives out next. It holds for every contender alike. However the benchmark
 * ends, the program ends with it, and its memory is free again.
 */
import { spawn } from 'node:child_process'
import { existsSync, statfsSync, truncateSync } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { compileC } from './compile-c.ts'
import { hasProgram } from '../helpers/programs.ts'

const SOURCE = fileURLToPath(new URL('./held-memory.c', import.meta.url))
/** What is left free: room for what a contender takes between two looks, above the kernel's own reserves. */
const FREE_BYTES = 640 * 2 ** 20
/** Files are cut back by this much at once. */
const STEP_BYTES = 64 * 2 ** 20
const BLOCK_BYTES = 512
/** Of statfs(2). */
const TMPFS_MAGIC = 0x01021994
const PAGE_REPORTING = '/sys/module/page_reporting'

export interface ResidentMemory extends AsyncDisposable {
  /** Runs `task` when nothing more is free than is left, and gives memory out meanwhile. */
  during<T>(task: () => Promise<T>): Promise<T>
  /** Takes the memory of the files below `folder` back, step by step, before they are removed: they are empty then. */
  takeBack(folder: string): Promise<void>
}

/** Whether targets in `folder` would be measured with faults on the host, and memory can be held against it. */
export function wantsHeldMemory(folder: string): boolean {
  // A group of processes with a limit of its own would be ended for what is held.
  return (
    existsSync(PAGE_REPORTING) &&
    existsSync(folder) &&
    statfsSync(folder).type === TMPFS_MAGIC &&
    process.constrainedMemory() >= totalmem() &&
    hasProgram('gcc')
  )
}

/** Holds what is free from the first task on; `work` keeps the compiled program. */
export async function holdFreeMemory(work: string): Promise<ResidentMemory> {
  const program = await compileC(SOURCE, work)
  const { stdio } = spawn(program, [String(FREE_BYTES)], { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] })
  const control = stdio[3] as Duplex
  const answers = createInterface({ input: control })[Symbol.asyncIterator]()

  /** Takes what is free by now. */
  async function hold(): Promise<void> {
    control.write('\n')
    if ((await answers.next()).done) throw new Error('The program that holds free memory ended')
  }

  return {
    async during(task) {
      await hold()
      return await task()
    },
    async takeBack(below) {
      for (const name of await readdir(below, { recursive: true })) {
        const path = join(below, name)
        const found = await lstat(path)
        const { blocks, size } = found
        // One with a second name may be a source.
        if (!found.isFile() || found.nlink > 1 || blocks * BLOCK_BYTES < STEP_BYTES) continue
        const steps = Math.ceil((blocks * BLOCK_BYTES) / STEP_BYTES)
        for (let step = steps - 1; step >= 0; step--) {
          truncateSync(path, Math.floor((size / steps) * step))
          await hold()
        }
      }
      await hold()
    },
    async [Symbol.asyncDispose]() {
      control.end()
      // It closes its side when it has ended.
      while (!(await answers.next()).done);
    },
  }
}

/** Where it is not to be held. */
export const unheldMemory: ResidentMemory = {
  during: async (task) => await task(),
  takeBack: async () => {},
  [Symbol.asyncDispose]: async () => {},
}
