/**
 * Keeps the machine's free memory small while contenders run, so that pages they take are ones it has at hand.
 *
 * On a virtual machine whose free pages go back to the host (virtio-balloon's free page reporting) each new page of a
 * file on tmpfs costs a fault on the host: up to 2 s a GiB, and another figure every minute. That is the host's speed and
 * not a contender's. So a file on tmpfs holds what is free, and is cut back as fast as a contender takes memory; what it
 * cuts off is what the kernel gives out next. It holds for every contender alike. The file has no name: however this
 * process ends, its memory is free again.
 */
import {
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statfsSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'

/** What is left free: room for what a contender takes between two looks, above the kernel's own reserves. */
const FREE_BYTES = 640 * 2 ** 20
const LOOK_MS = 10
const STEP_BYTES = 8 * 2 ** 20
const BLOCK_BYTES = 512
/** Of statfs(2). */
const TMPFS_MAGIC = 0x01021994
const PAGE_REPORTING = '/sys/module/page_reporting'

export interface ResidentMemory extends AsyncDisposable {
  /** Gives memory out while `task` runs. */
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
    process.constrainedMemory() >= totalmem()
  )
}

/** Holds what is free in a file in `folder`, which is on tmpfs, from the first task on. */
export function holdFreeMemory(folder: string): ResidentMemory {
  const path = join(folder, `fluidcloud-bench-held-${process.pid}`)
  const file = openSync(path, 'wx')
  unlinkSync(path)
  const page = Buffer.alloc(STEP_BYTES, 1)
  let heldBytes = 0

  async function hold(): Promise<void> {
    while (roomBytes(folder) > FREE_BYTES) {
      heldBytes += writeSync(file, page, 0, page.length, heldBytes)
      await setImmediate()
    }
  }

  function give(): void {
    const wanted = FREE_BYTES - roomBytes(folder)
    if (wanted <= 0 || heldBytes === 0) return
    heldBytes = Math.max(0, heldBytes - wanted)
    ftruncateSync(file, heldBytes)
  }

  return {
    async during(task) {
      await hold()
      const looking = setInterval(give, LOOK_MS)
      try {
        return await task()
      } finally {
        clearInterval(looking)
      }
    },
    async takeBack(below) {
      for (const name of await readdir(below, { recursive: true })) {
        const path = join(below, name)
        const found = await lstat(path)
        const { blocks, size } = found
        // One with a second name may be a source.
        if (!found.isFile() || found.nlink > 1 || blocks * BLOCK_BYTES < STEP_BYTES) continue
        const steps = Math.ceil((blocks * BLOCK_BYTES) / (8 * STEP_BYTES))
        for (let step = steps - 1; step >= 0; step--) {
          truncateSync(path, Math.floor((size / steps) * step))
          await hold()
        }
      }
      await hold()
    },
    async [Symbol.asyncDispose]() {
      closeSync(file)
    },
  }
}

/** Where it is not to be held. */
export const unheldMemory: ResidentMemory = {
  during: async (task) => await task(),
  takeBack: async () => {},
  [Symbol.asyncDispose]: async () => {},
}

/** What the machine has free, or the file system of `folder`, which may have a limit of its own. */
function roomBytes(folder: string): number {
  const free = Number(/^MemFree:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024
  const { bavail, bsize } = statfsSync(folder)
  return Math.min(free, bavail * bsize)
}
