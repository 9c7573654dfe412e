/** Columns of text, aligned by display width and cut to the terminal. */
import type { Style } from './style.ts'
import { displayWidth, pad, printable, truncateMiddle } from './text.ts'

/** A cell: its text, and how to colour it once it has been cut and padded. */
export interface Cell {
  readonly text: string
  readonly paint?: (text: string) => string
}

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
  /** Gives way when the terminal is narrow, the widest first. */
  readonly flexible?: boolean
}

const GAP = '  '
const MIN_FLEXIBLE = 8

/** A table with its header, a newline after each row. `columns` is the width of the terminal; undefined: no limit. */
export function formatTable(
  head: readonly Column[],
  rows: readonly (readonly (string | Cell)[])[],
  { style, columns }: { style: Style; columns?: number },
): string {
  const cells = rows.map((row) => row.map((cell) => toCell(cell)))
  const widths = head.map(({ title }, index) =>
    Math.max(displayWidth(title), ...cells.map((row) => displayWidth(row[index].text))),
  )
  if (columns !== undefined) shrink(widths, head, columns - GAP.length * (head.length - 1))
  const line = (row: readonly Cell[]): string =>
    row
      .map(({ text, paint = String }, index) => {
        const cut = truncateMiddle(text, widths[index], style.symbols.ellipsis)
        const last = index === row.length - 1 && head[index].align !== 'right'
        return paint(last ? cut : pad(cut, widths[index], head[index].align === 'right' ? 'left' : 'right'))
      })
      .join(GAP)
      .trimEnd()
  const header = line(head.map(({ title }) => ({ text: title, paint: style.dim })))
  return [header, ...cells.map((row) => line(row))].map((text) => `${text}\n`).join('')
}

function shrink(widths: number[], head: readonly Column[], columns: number): void {
  for (let over = widths.reduce((sum, width) => sum + width, 0) - columns; over > 0; over--) {
    let widest = -1
    for (const [index, { flexible }] of head.entries()) {
      if (flexible && widths[index] > MIN_FLEXIBLE && (widest === -1 || widths[index] > widths[widest]))
        widest = index
    }
    if (widest === -1) return
    widths[widest]--
  }
}

/** `label  value` lines, labels aligned, values as they are (colour them yourself). */
export function formatFields(
  fields: readonly (readonly [label: string, value: string | undefined])[],
  style: Style,
): string {
  const shown = fields.filter(([, value]) => value !== undefined)
  const width = Math.max(...shown.map(([label]) => label.length))
  return shown.map(([label, value]) => `  ${style.dim(label.padEnd(width))}  ${value}\n`).join('')
}

function toCell(cell: string | Cell): Cell {
  return typeof cell === 'string' ? { text: printable(cell) } : { ...cell, text: printable(cell.text) }
}
