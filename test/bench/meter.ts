/** Measures a command and all that this process has running for it: seconds, processor time, bytes, memory. */
import type { Figures } from './contender.ts'
import { descendants, peakRssBytes, resetPeak, treeCpuSeconds, untilQuiet } from './cpu.ts'
import type { Line } from './line.ts'

const SAMPLE_MS = 200

/** Runs `action` and measures it; what servers and agents do after its end belongs to its cost. */
export async function measure<T>(
  line: Line,
  action: () => Promise<T>,
): Promise<{ figures: Figures; result: T }> {
  const except = line.pid === undefined ? [] : [line.pid]
  await untilQuiet(except)
  for (const pid of descendants(except)) resetPeak(pid)
  const [cpuBefore, carriedBefore] = [treeCpuSeconds(except), await line.carriedBytes()]
  using memory = watchMemory(except)
  const begun = performance.now()
  const result = await action()
  const seconds = (performance.now() - begun) / 1000
  await untilQuiet(except)
  const figures = {
    seconds,
    cpuSeconds: treeCpuSeconds(except) - cpuBefore,
    wireBytes: (await line.carriedBytes()) - carriedBefore,
    peakRssBytes: memory.peakBytes(),
  }
  return { figures, result }
}

/** Samples the peaks, since a process that has ended tells no more. */
function watchMemory(except: readonly number[]): Disposable & { peakBytes(): number } {
  let peak = 0
  const sample = (): void => {
    for (const pid of descendants(except)) peak = Math.max(peak, peakRssBytes(pid))
  }
  sample()
  const sampling = setInterval(sample, SAMPLE_MS)
  return {
    peakBytes() {
      sample()
      return peak
    },
    [Symbol.dispose]: () => clearInterval(sampling),
  }
}
