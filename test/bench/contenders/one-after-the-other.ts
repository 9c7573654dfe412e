/** A contender that moves one disk at a time, with a second disk to move. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Contender } from '../contender.ts'

/** The disk of the task, then `other`. */
export function oneAfterTheOther(contender: Contender, other: string): Contender {
  return {
    ...contender,
    async move(task) {
      const first = await contender.move(task)
      const folder = join(task.folder, 'second')
      await mkdir(folder)
      const second = await contender.move({ ...task, source: other, folder })
      const sum = (a?: number, b?: number) => (a === undefined || b === undefined ? undefined : a + b)
      return {
        seconds: first.seconds + second.seconds,
        jobSeconds: sum(first.jobSeconds, second.jobSeconds),
        cpuSeconds: first.cpuSeconds + second.cpuSeconds,
        wireBytes: first.wireBytes + second.wireBytes,
        toldWireBytes: sum(first.toldWireBytes, second.toldWireBytes),
        peakRssBytes: Math.max(first.peakRssBytes, second.peakRssBytes),
        target: first.target,
      }
    },
  }
}
