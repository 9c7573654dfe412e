/**
 * Keeps the machine's free memory small while contenders run, so that pages they take are ones it has at hand.
 *
 * On a virtual machine whose free pages go back to the host (virtio-balloon's free page reporting) each new page of a
 * file on tmpfs costs a fault on the host: up to 2 s a GiB, and another figure every minute. That is the host's speed and
 * not a contender's. So a file on tmpfs holds what is free, and is cut back as fast as a contender takes memory; what it
 * cuts off is what the kernel gives out next. It holds for every contender alike.
 */
import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** What is left free: room for what a contender takes between two looks, above the kernel's own reserves. */
const FREE_BYTES = 640 * 2 ** 20
const LOOK_MS = 10
const STEP_BYTES = 8 * 2 ** 20

export interface ResidentMemory extends AsyncDisposable {
  /** Gives memory out while `task` runs. */
  during<T>(task: () => Promise<T>): Promise<T>
  /** Takes the memory of the files below `folder` back, step by step, before they are removed. */
  takeBack(folder: string): Promise<void>
}

/** Holds what is free in a file in `folder`, which is on tmpfs. */
export function holdFreeMemory(folder: string): ResidentMemory {
  const path = join(folder, `fluidcloud-bench-held-${process.pid}`)
  const file = openSync(path, 'wx')
  const remove = (): void => unlinkSync(path)
  process.once('exit', remove)
  const page = Buffer.alloc(STEP_BYTES, 1)
  let heldBytes = 0

  function hold(): void {
    while (freeBytes() > FREE_BYTES) heldBytes += writeSync(file, page, 0, page.length, heldBytes)
  }

  function give(): void {
    const wanted = FREE_BYTES - freeBytes()
    if (wanted <= 0 || heldBytes === 0) return
    heldBytes = Math.max(0, heldBytes - wanted)
    ftruncateSync(file, heldBytes)
  }

  hold()
  return {
    async during(task) {
      const looking = setInterval(give, LOOK_MS)
      try {
        return await task()
      } finally {
        clearInterval(looking)
      }
    },
    async takeBack(below) {
      for (const name of await readdir(below, { recursive: true })) {
        const found = await stat(join(below, name))
        if (!found.isFile() || found.blocks * 512 < STEP_BYTES) continue
        for (let left = found.size; left > 0;) {
          left = Math.max(0, left - 8 * STEP_BYTES)
          truncateSync(join(below, name), left)
          hold()
        }
      }
      hold()
    },
    async [Symbol.asyncDispose]() {
      process.off('exit', remove)
      closeSync(file)
      remove()
    },
  }
}

function freeBytes(): number {
  return Number(/^MemFree:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024
}
