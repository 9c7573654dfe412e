/**
 * How much of this machine's processors nobody uses at present, whoever else runs on it: /proc/stat, see proc_stat(5).
 * Elsewhere than on Linux that is not known, and all of them count as idle.
 */
import { closeSync, openSync, readSync } from 'node:fs'

/** The kernel counts in ticks of 10 ms: of a shorter time there would be too few. */
const SAMPLE_MS = 100
/** The first line, of all processors together, has fewer. */
const LINE_BYTES = 512

/** Ticks since the machine started. */
export interface ProcessorTicks {
  readonly idle: number
  readonly all: number
}

/** Says the idle share, 0 to 1, between the last two looks; 1 before there were two. */
export function createMachineIdle(
  look: () => ProcessorTicks | undefined = readTicks,
  now: () => number = () => performance.now(),
): () => number {
  let last = look()
  let lookedAt = now()
  let share = 1
  return () => {
    if (last === undefined || now() - lookedAt < SAMPLE_MS) return share
    const ticks = look()
    if (ticks === undefined) return share
    if (ticks.all > last.all)
      share = Math.min(1, Math.max(0, (ticks.idle - last.idle) / (ticks.all - last.all)))
    last = ticks
    lookedAt = now()
    return share
  }
}

/** The ticks in the first line of /proc/stat; undefined when it is not one. */
export function parseTicks(stat: string): ProcessorTicks | undefined {
  const line = /^cpu +([\d ]+)\n/.exec(stat)
  if (!line) return undefined
  // The last two, of guests, are counted among the first two already.
  const [user = 0, nice = 0, system = 0, idle = 0, ioWait = 0, irq = 0, softIrq = 0, steal = 0] = line[1]
    .trim()
    .split(' ')
    .map(Number)
  const waiting = idle + ioWait
  return { idle: waiting, all: user + nice + system + waiting + irq + softIrq + steal }
}

function readTicks(): ProcessorTicks | undefined {
  try {
    const fd = openSync('/proc/stat', 'r')
    try {
      const bytes = Buffer.alloc(LINE_BYTES)
      return parseTicks(bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, 0)))
    } finally {
      closeSync(fd)
    }
  } catch {
    return undefined
  }
}
