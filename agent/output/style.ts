/** Colours and symbols: which of them the terminal takes, and how they are written. */

const CODES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  cyan: [36, 39],
} as const

export type Colour = keyof typeof CODES

const UNICODE = {
  ok: '✔',
  fail: '✖',
  warn: '!',
  dot: '·',
  arrow: '→',
  back: '←',
  times: '×',
  ellipsis: '…',
  bar: '█',
  rest: '░',
  shades: ['█', '▓', '▒', '░'],
  rule: '─',
  live: '●',
  idle: '○',
  frames: ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'],
} as const

const ASCII = {
  ok: 'ok',
  fail: 'x',
  warn: '!',
  dot: '-',
  arrow: '->',
  back: '<-',
  times: 'x',
  ellipsis: '...',
  bar: '#',
  rest: '.',
  shades: ['#', '%', '=', '.'],
  rule: '-',
  live: '*',
  idle: 'o',
  frames: ['|', '/', '-', '\\'],
} as const

/** How this terminal is written to. */
export type Style = { readonly [name in Colour]: (text: string) => string } & {
  readonly color: boolean
  readonly unicode: boolean
  readonly symbols: typeof UNICODE | typeof ASCII
}

/** The style for a terminal that takes colours and Unicode, or does not. */
export function createStyle({ color, unicode }: { color: boolean; unicode: boolean }): Style {
  const paint = (name: Colour) => (text: string) => {
    const [open, close] = CODES[name]
    return color && text !== '' ? `\x1b[${open}m${text}\x1b[${close}m` : text
  }
  const colours = Object.fromEntries(Object.keys(CODES).map((name) => [name, paint(name as Colour)]))
  return {
    ...(colours as Record<Colour, (text: string) => string>),
    color,
    unicode,
    symbols: unicode ? UNICODE : ASCII,
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/** Whether to colour: --no-color, FORCE_COLOR, NO_COLOR (https://no-color.org), TERM=dumb, then whether it is a terminal. */
export function wantsColor(env: Environment, { isTTY = false, noColor = false }): boolean {
  if (noColor) return false
  if (env.FORCE_COLOR !== undefined) return !['0', 'false'].includes(env.FORCE_COLOR)
  if (env.NO_COLOR) return false
  return isTTY && env.TERM !== 'dumb'
}

/** Whether the locale writes UTF-8; the first of the three variables that is set decides, as in locale(7). */
export function wantsUnicode(env: Environment): boolean {
  if (env.TERM === 'dumb') return false
  return /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '')
}
