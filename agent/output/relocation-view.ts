/** The live line of a relocation: redrawn on a terminal; without one a plain line at each stage and round. */
import type { RelocationReport } from '../reports/relocation-reports.ts'
import { formatRelocationLine, wordsOf } from './relocation-text.ts'
import type { Style } from './style.ts'
import type { Screen } from './terminal.ts'
import { displayWidth, truncate } from './text.ts'

export class RelocationView {
  readonly #screen: Screen
  readonly #style: Style
  readonly #live: boolean
  #drawn = false
  #frame = 0
  #stage = ''

  constructor(screen: Screen, style: Style, { live }: { live: boolean }) {
    this.#screen = screen
    this.#style = style
    this.#live = live
  }

  update(report: RelocationReport): void {
    const line = formatRelocationLine(report, this.#style)
    if (this.#live) {
      const { frames } = this.#style.symbols
      const columns = Math.max(10, (this.#screen.columns || 80) - 3)
      const fitted = displayWidth(line) > columns ? truncate(plain(line), columns) : line
      this.#screen.write(
        `${this.#erase()}${this.#style.cyan(frames[this.#frame++ % frames.length])} ${fitted}`,
      )
      this.#drawn = true
      return
    }
    const stage = `${wordsOf(report)} ${report.round} ${report.detail ?? ''}`
    if (stage === this.#stage) return
    this.#stage = stage
    this.#screen.write(`${line}\n`)
  }

  /** Takes the line off the terminal. */
  clear(): void {
    if (this.#drawn) this.#screen.write(this.#erase())
    this.#drawn = false
  }

  #erase(): string {
    return this.#drawn ? '\r\x1b[J' : ''
  }
}

// Cut lines lose their colours: an escape must not be cut in two.
function plain(line: string): string {
  return line.replace(/\x1b\[\d+m/g, '')
}
