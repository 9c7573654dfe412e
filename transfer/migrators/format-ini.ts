/** Sections of key = value lines, as ini, cnf and conf files have. Section '' is what stands before the first. */
import {
  asString,
  type ConfigFormat,
  flatExpected,
  type FlatFacts,
  flatFacts,
  type Key,
  showKey,
  splice,
  unsupported,
} from './config-format.ts'
import { endedText, lineEnd } from './guest-text.ts'

export interface IniLine {
  /** Section and name. */
  readonly key: readonly [section: string, name: string]
  readonly value: string
  readonly quote: '' | '"' | "'"
  readonly indent: string
  readonly separator: string
  /** Of the value with its quotes. */
  readonly start: number
  readonly end: number
  /** After its line's end. */
  readonly next: number
}

const HEADER = /^\s*\[([^\]\n]*)\]\s*(?:[;#].*)?$/
/** A name ends in what is no blank: so blanks are looked at once, however many there are. */
const LINE = /^([ \t]*)([^\s=:;#[](?:[^=:]*[^=: \t])?)([ \t]*[=:][ \t]*)(.*)$/

export const iniFormat: ConfigFormat = {
  parseKey(text) {
    const dot = text.indexOf('.')
    return dot < 0 ? ['', text] : [text.slice(0, dot), text.slice(dot + 1)]
  },
  get(text, key) {
    const [section, name] = partsOf(key)
    return scanIni(text).lines.findLast(({ key: [s, n] }) => s === section && n === name)?.value
  },
  set(text, key, value) {
    const [section, name] = partsOf(key)
    const wanted = asString(value, key)
    const { lines, headers } = scanIni(text)
    const found = lines.findLast(({ key: [s, n] }) => s === section && n === name)
    if (found) return splice(text, found.start, found.end, quoted(wanted, found.quote, key))
    const line = (like?: IniLine) =>
      `${like?.indent ?? ''}${name}${like?.separator ?? ' = '}${quoted(wanted, '', key)}${lineEnd(text)}`
    const sibling = lines.findLast(({ key: [s] }) => s === section)
    const at = sibling?.next ?? (section === '' ? 0 : headers.get(section))
    if (at !== undefined) {
      const above = endedText(text.slice(0, at))
      return above + line(sibling) + text.slice(at)
    }
    const above = endedText(text)
    return `${above}${above === '' ? '' : lineEnd(text)}[${section}]${lineEnd(text)}${line(lines.at(-1))}`
  },
  facts: (text) => flatFacts(scanIni(text).lines),
  expected: (facts, key, value) => flatExpected(facts as FlatFacts, partsOf(key), asString(value, key)),
}

function partsOf(key: Key): [section: string, name: string] {
  const [section, name] = key
  if (key.length !== 2 || typeof section !== 'string' || typeof name !== 'string' || name === '')
    throw unsupported(`${showKey(key)} is no section and name`)
  return [section, name]
}

/** Its lines, and where each section's first line would stand. */
export function scanIni(text: string): { lines: IniLine[]; headers: Map<string, number> } {
  const lines: IniLine[] = []
  const headers = new Map<string, number>()
  let section = ''
  let at = 0
  for (const whole of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    const next = at + whole.length
    const line = whole.replace(/\r?\n$/, '')
    const [, header] = HEADER.exec(line) ?? []
    const [, indent, name, separator, rest] = LINE.exec(line) ?? []
    if (header !== undefined) {
      section = header.trim()
      if (!headers.has(section)) headers.set(section, next)
    } else if (name !== undefined) {
      const start = at + indent.length + name.length + separator.length
      lines.push({ key: [section, name], indent, separator, start, next, ...valueOf(rest, start) })
    }
    at = next
  }
  return { lines, headers }
}

function valueOf(rest: string, start: number): Pick<IniLine, 'value' | 'quote' | 'end'> {
  const [whole, double, single] = /^(?:"([^"]*)"|'([^']*)')(?=\s*(?:[;#]|$))/.exec(rest) ?? []
  if (whole !== undefined)
    return { value: double ?? single, quote: double === undefined ? "'" : '"', end: start + whole.length }
  const comment = /(?:^|[ \t])[;#]/.exec(rest)?.index ?? rest.length
  const value = rest.slice(0, comment).trimEnd()
  return { value, quote: '', end: start + value.length }
}

function quoted(value: string, quote: IniLine['quote'], key: Key): string {
  if (quote !== '' && !value.includes(quote)) return quote + value + quote
  if (quote !== '' || value !== value.trim() || /(?:^|\s)[;#]|^["']/.test(value))
    throw unsupported(
      `${showKey(key)} cannot hold such a value in an ini file: its quotes or comment signs have two readings`,
    )
  return value
}
