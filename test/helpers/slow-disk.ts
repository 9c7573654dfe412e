import { Promptness, SLOW_MS } from '../../transfer/backends/promptness.ts'

/** Of a disk all of whose calls are slow, by a clock of its own; one was made already. */
export function slowDisk(): Promptness {
  let now = 0
  const promptness = new Promptness(() => (now += SLOW_MS))
  promptness.run(() => {})
  return promptness
}
