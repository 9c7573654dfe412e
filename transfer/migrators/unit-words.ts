/** Words of a unit's value as systemd splits them: quotes, C escapes, and %% for a percent sign. */

export interface UnitWord {
  readonly text: string
  /** With its quotes. */
  readonly start: number
  readonly end: number
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', s: ' ', r: '\r' }

export function unitWords(value: string): UnitWord[] {
  const words: UnitWord[] = []
  let at = 0
  for (;;) {
    while (at < value.length && /\s/.test(value[at])) at++
    // A line that goes on.
    if (value[at] === '\\' && value[at + 1] === '\n') {
      at += 2
      continue
    }
    if (at >= value.length) return words
    const start = at
    let text = ''
    let quote = ''
    while (at < value.length && (quote !== '' || !/\s/.test(value[at]))) {
      const character = value[at++]
      if (character === '\\' && at < value.length) {
        const next = value[at++]
        text += ESCAPES[next] ?? next
      } else if (character === quote) quote = ''
      else if (quote === '' && (character === '"' || character === "'")) quote = character
      else text += character
    }
    words.push({ text: text.replaceAll('%%', '%'), start, end: at })
  }
}

/** One word that means `text`, in quotes if it must be. */
export function quoteWord(text: string): string {
  const escaped = text.replaceAll('%', '%%')
  return /^[^\s"'\\;]+$/.test(escaped) ? escaped : `"${escaped.replaceAll(/["\\]/g, '\\$&')}"`
}
