/** Text made fit for a terminal: nothing a peer wrote may move the cursor, and every width is counted in columns. */
import { stripVTControlCharacters } from 'node:util'

/** Made when it is needed: it takes 10 ms, and most text is plain. */
let segmenter: Intl.Segmenter | undefined
const PLAIN = /^[\x20-\x7e]*$/
// Zero-width and bidirectional controls reorder or hide what stands around them.
const INVISIBLE = /[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu
// C0 but the newline is kept by some callers only; C1; delete.
const CONTROL = /[\p{Cc}\u2028\u2029]/gu
// East Asian wide and emoji, as https://www.unicode.org/reports/tr11/ has them, near enough for a column count.
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u

/** `text` on one line, without controls: what came from a peer or a file system may be shown then. */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(CONTROL, ' ').replace(INVISIBLE, '')
}

/** Columns `text` takes; escapes for colours take none. */
export function displayWidth(text: string): number {
  const shown = stripVTControlCharacters(text)
  if (PLAIN.test(shown)) return shown.length
  let columns = 0
  for (const { segment } of segments(shown)) columns += WIDE.test(segment) ? 2 : 1
  return columns
}

/** Uncoloured `text` in at most `columns` columns; what was cut is marked by `ellipsis`. */
export function truncate(text: string, columns: number, ellipsis = '…'): string {
  if (displayWidth(text) <= columns) return text
  const room = columns - displayWidth(ellipsis)
  if (room < 0) return ''
  let kept = ''
  let used = 0
  for (const { segment } of segments(text)) {
    used += WIDE.test(segment) ? 2 : 1
    if (used > room) break
    kept += segment
  }
  return kept + ellipsis
}

/** `text` with its middle cut out, for paths and peer IDs, whose ends tell them apart. */
export function truncateMiddle(text: string, columns: number, ellipsis = '…'): string {
  if (displayWidth(text) <= columns) return text
  const room = columns - displayWidth(ellipsis)
  if (room < 2) return truncate(text, columns, ellipsis)
  const tail = Math.floor(room / 2)
  return truncate(text, room - tail, '') + ellipsis + lastColumns(text, tail)
}

function lastColumns(text: string, columns: number): string {
  let kept = ''
  let used = 0
  for (const { segment } of Array.from(segments(text)).reverse()) {
    used += WIDE.test(segment) ? 2 : 1
    if (used > columns) break
    kept = segment + kept
  }
  return kept
}

/** `text` padded with spaces to `columns`, by its display width. */
export function pad(text: string, columns: number, side: 'left' | 'right' = 'right'): string {
  const space = ' '.repeat(Math.max(0, columns - displayWidth(text)))
  return side === 'right' ? text + space : space + text
}

/** '1 job', '2 jobs'. */
export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`
}

function segments(text: string): Iterable<Intl.SegmentData> {
  return (segmenter ??= new Intl.Segmenter()).segment(text)
}
