/** How the demonstration tells what happens: a line for each step, progress while one runs; or NDJSON. */
import type { JobReport } from '../reports/job-reports.ts'
import { formatEvent, progressFields } from '../output/ndjson.ts'
import { ProgressView } from '../output/progress.ts'
import type { Style } from '../output/style.ts'
import type { Screen } from '../output/terminal.ts'
import { formatDuration } from '../units.ts'

const TITLE_COLUMNS = 28
const SPIN_INTERVAL_MS = 100

export interface StoryOptions {
  readonly json: boolean
  readonly style: Style
  readonly stdout: Screen
  readonly stderr: Screen
}

/** What a step is reported as. */
export interface Told {
  /** In words, for people. */
  readonly words: string
  /** The same for scripts. */
  readonly facts: object
  /** True when it is a misfortune rather than a success. */
  readonly misfortune?: boolean
}

export class Story implements Disposable {
  readonly #json: boolean
  readonly #style: Style
  readonly #stdout: Screen
  readonly #stderr: Screen
  readonly #live: boolean
  readonly #view: ProgressView | undefined
  #spinning: NodeJS.Timeout | undefined

  constructor({ json, style, stdout, stderr }: StoryOptions) {
    this.#json = json
    this.#style = style
    this.#stdout = stdout
    this.#stderr = stderr
    this.#live = !json && Boolean(stderr.isTTY) && Boolean(stdout.isTTY)
    this.#view = json ? undefined : new ProgressView(stderr, style, { live: this.#live })
  }

  /** Does the work of a step, and tells how it went and how long it took. */
  async step<T>(name: string, title: string, work: () => Promise<T>, tell: (result: T) => Told): Promise<T> {
    const startedAt = performance.now()
    this.#spin(title)
    try {
      const result = await work()
      const ms = performance.now() - startedAt
      this.tell(name, title, tell(result), ms)
      return result
    } finally {
      this.#still()
    }
  }

  /** Tells one line; `ms` is how long it took. */
  tell(name: string, title: string, { words, facts, misfortune = false }: Told, ms?: number): void {
    this.#still()
    if (this.#json) {
      const seconds = ms === undefined ? undefined : Number((ms / 1000).toFixed(3))
      this.#stdout.write(formatEvent('step', { step: name, ...facts, seconds }))
      return
    }
    const { symbols, green, yellow, dim } = this.#style
    const mark = misfortune ? yellow(symbols.fail) : green(symbols.ok)
    const took = ms === undefined || ms < 50 ? '' : dim(`  ${formatDuration(ms)}`)
    this.#stdout.write(`${mark} ${title.padEnd(TITLE_COLUMNS)}  ${words}${took}\n`)
  }

  /** Shows how far a job is. */
  progress(report: JobReport): void {
    this.#still()
    if (this.#json) this.#stdout.write(formatEvent('progress', progressFields(report)))
    else this.#view?.update(report)
  }

  /** One NDJSON line; nothing for people. */
  emit(type: string, fields: object): void {
    if (this.#json) this.#stdout.write(formatEvent(type, fields))
  }

  /** Text for people; nothing with --json. */
  say(text: string): void {
    this.#still()
    if (!this.#json) this.#stdout.write(text)
  }

  [Symbol.dispose](): void {
    this.#still()
  }

  #spin(title: string): void {
    if (!this.#live) return
    const { frames } = this.#style.symbols
    let frame = 0
    const draw = (): void =>
      void this.#stderr.write(`\r\x1b[K${this.#style.cyan(frames[frame++ % frames.length])} ${title}`)
    draw()
    this.#spinning = setInterval(draw, SPIN_INTERVAL_MS)
  }

  #still(): void {
    this.#view?.clear()
    if (this.#spinning === undefined) return
    clearInterval(this.#spinning)
    this.#spinning = undefined
    this.#stderr.write('\r\x1b[K')
  }
}
