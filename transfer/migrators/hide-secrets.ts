/**
 * Text as people may see it: values of what looks like a password, token or key are left out, and so are control
 * characters that a terminal would obey. It errs to hiding too much. Guests are hostile: all of it is linear in a line.
 */

export const HIDDEN = '<hidden>'

/** Longer lines are not for reading. */
const MAX_LINE = 4096

const SECRET =
  /pass|pwd|secret|token|auth|cookie|credential|(?:api|private|access|account|shared|signing|encryption|master)[-_.]?key/i
/** Of these the rest of the line is the value. */
const TO_THE_END = /authorization|cookie/i
/** Directives of nginx that name a server. */
const NO_SECRET = /^(?:proxy|fastcgi|uwsgi|scgi|grpc|memcached)_pass$/i

const LEADING = /^(\s*(?:[-*]\s+)?(?:export\s+)?["']?)([\w.-]+)(["']?(?:\s*[:=]\s*|[ \t]+|$))(.*)$/
const WITHIN = /(?<![\w.-])([\w.-]+)["']?(?:\s*[:=]\s*|[ \t]+)/g
const VALUE = /[[{].*|"(?:[^"\\]|\\.)*"|'[^']*'|["'].*|[^\s,;}"'&]+/y
const USER_INFO = /(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*:)[^\s/]+@/gi
/** Nothing, the opening of a list, a table, a block or a text of many lines: its content follows, deeper. */
const NESTED = /^\s*(?:[|>][-+0-9]*|[[{].*)?\s*(?:#.*)?$/
const LONG_BASE64 = /^[\w+/=-]{48,}$/

/** Each line of `text` for people, without its end. */
export function hideSecrets(text: string): string[] {
  const hide = hider()
  return text.split(/\r?\n/).map((line) => hide(line))
}

/** Hides line after line of one text. */
function hider(): (line: string) => string {
  let inKey = false
  let deeperThan: number | undefined
  let closing: string | undefined
  return (line) => {
    if (line.length > MAX_LINE) return `<a line of ${line.length} characters>`
    if (inKey) {
      inKey = !line.includes('-----END ')
      return inKey ? HIDDEN : printable(line)
    }
    inKey = /-----BEGIN [A-Z ]*PRIVATE KEY/.test(line)
    if (closing !== undefined) {
      if (line.includes(closing)) closing = undefined
      return HIDDEN
    }
    const indent = line.search(/\S/)
    if (deeperThan !== undefined) {
      if (indent < 0) return ''
      if (indent > deeperThan || (indent === deeperThan && /^\s*-\s/.test(line))) return HIDDEN
      deeperThan = undefined
    }
    const [, before, name, separator, value] = LEADING.exec(line) ?? []
    if (name === undefined || !isSecret(name)) return printable(hideWithin(line))
    if (NESTED.test(value)) deeperThan = indent
    closing = unclosedQuote(value)
    return printable(before + name + separator) + (value.trim() === '' ? '' : HIDDEN)
  }
}

function isSecret(name: string): boolean {
  return SECRET.test(name) && !NO_SECRET.test(name)
}

function hideWithin(line: string): string {
  if (LONG_BASE64.test(line.trim())) return HIDDEN
  const shown = line.replace(USER_INFO, (_, before: string) => `${before}${HIDDEN}@`)
  let result = ''
  let at = 0
  for (const found of shown.matchAll(WITHIN)) {
    if (found.index < at || !isSecret(found[1])) continue
    const start = found.index + found[0].length
    if (TO_THE_END.test(found[1])) return `${result}${shown.slice(at, start)}${HIDDEN}`
    VALUE.lastIndex = start
    const [value] = VALUE.exec(shown) ?? []
    if (value === undefined) continue
    result += shown.slice(at, start) + HIDDEN
    at = start + value.length
  }
  return result + shown.slice(at)
}

/** The quotes that do not close on their line. */
function unclosedQuote(value: string): string | undefined {
  const [quotes] = /^(?:"""|'''|"|')/.exec(value.trim()) ?? []
  if (quotes === undefined) return undefined
  const rest = value.trim().slice(quotes.length).replaceAll(/\\./g, '')
  return rest.includes(quotes) ? undefined : quotes
}

/** Control characters as escapes. */
function printable(line: string): string {
  return line.replaceAll(
    /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  )
}
