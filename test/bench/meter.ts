/** Measures a command and all that this process has running for it: seconds, processor time, bytes, memory. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Figures } from './contender.ts'
import { descendants, peakRssBytes, resetPeak, treeCpuSeconds, untilQuiet } from './cpu.ts'
import type { Line } from './line.ts'

const SAMPLE_MS = 100

/** Runs `action` and measures it; what servers and agents do after its end belongs to its cost. */
export async function measure<T>(
  line: Line,
  action: () => Promise<T>,
): Promise<{ figures: Figures; result: T }> {
  const except = line.pid === undefined ? [] : [line.pid]
  await untilQuiet(except)
  for (const pid of await descendants(except)) await resetPeak(pid)
  const [cpuBefore, carriedBefore] = [await treeCpuSeconds(except), await line.carriedBytes()]
  const memory = watchMemory(except)
  const begun = performance.now()
  try {
    const result = await action()
    const seconds = (performance.now() - begun) / 1000
    await untilQuiet(except)
    const figures = {
      seconds,
      cpuSeconds: (await treeCpuSeconds(except)) - cpuBefore,
      wireBytes: (await line.carriedBytes()) - carriedBefore,
      peakRssBytes: await memory.stop(),
    }
    return { figures, result }
  } finally {
    await memory.stop()
  }
}

/** Samples the peaks, since a process that has ended tells no more. */
function watchMemory(except: readonly number[]): { stop(): Promise<number> } {
  const over = new AbortController()
  let peak = 0
  const sample = async (): Promise<void> => {
    for (const pid of await descendants(except)) peak = Math.max(peak, await peakRssBytes(pid))
  }
  const watching = (async () => {
    while (!over.signal.aborted) {
      await sample()
      await sleep(SAMPLE_MS, undefined, { signal: over.signal }).catch(() => {})
    }
    await sample()
  })()
  return {
    async stop() {
      over.abort()
      await watching
      return peak
    },
  }
}
