/** Where values stand in TOML text that a parser has read already. It checks nothing itself. */
import type { Key } from './config-format.ts'
import { unsupported } from './config-format.ts'

export interface TomlPlaces {
  readonly values: readonly { readonly key: Key; readonly start: number; readonly end: number }[]
  /** Each table that has a header, and '' at the top: where one more line belongs. */
  readonly tables: readonly { readonly key: Key; readonly end: number }[]
}

const BLANK = /(?:[ \t\r\n]|#[^\n]*)*/y
const SPACE = /[ \t]*/y
const KEY_PART = /[ \t]*(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([\w-]+))[ \t]*/y
const STRING = /"""(?:[^\\]|\\[^])*?"""(?:"{0,2})|'''[^]*?'''(?:'{0,2})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'/y
const BARE = /[^\s,\]}#][^,\]}#\n]*/y
const MAX_DEPTH = 64

/** Throws GUEST_UNSUPPORTED where it is lost. */
export function scanToml(text: string): TomlPlaces {
  let at = 0
  const values: { key: Key; start: number; end: number }[] = []
  const tables: { key: Key; end: number }[] = [{ key: [], end: 0 }]
  const counts = new Map<string, number>()

  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(text) ?? undefined
    if (found) at += found[0].length
    return found
  }
  const expect = (sign: string) => {
    if (!text.startsWith(sign, at)) throw unsupported(`This TOML file cannot be edited at character ${at}`)
    at += sign.length
  }
  const dottedKey = (): string[] => {
    const parts: string[] = []
    do {
      if (parts.length > 0) at++
      const found = take(KEY_PART)
      if (!found) throw unsupported(`This TOML file cannot be edited at character ${at}`)
      const [, double, single, bare] = found
      parts.push(double === undefined ? (single ?? bare) : (JSON.parse(`"${double}"`) as string))
    } while (text[at] === '.')
    return parts
  }
  const value = (key: Key, depth: number): void => {
    if (depth > MAX_DEPTH) throw unsupported('This TOML file is nested too deeply')
    const start = at
    if (text[at] === '[') list(key, depth)
    else if (text[at] === '{') inlineTable(key, depth)
    else if (!take(STRING) && !take(BARE))
      throw unsupported(`This TOML file cannot be edited at character ${at}`)
    while (/[ \t\r]/.test(text[at - 1])) at--
    values.push({ key, start, end: at })
  }
  const list = (key: Key, depth: number): void => {
    expect('[')
    for (let i = 0; ; i++) {
      take(BLANK)
      if (text[at] === ']') break
      value([...key, i], depth + 1)
      take(BLANK)
      if (text[at] !== ',') break
      at++
    }
    expect(']')
  }
  const inlineTable = (key: Key, depth: number): void => {
    expect('{')
    for (;;) {
      take(BLANK)
      if (text[at] === '}') break
      const name = dottedKey()
      expect('=')
      take(BLANK)
      value([...key, ...name], depth + 1)
      take(BLANK)
      if (text[at] !== ',') break
      at++
    }
    expect('}')
  }
  /** Names of headers, with the place of the last element where there are arrays of tables. */
  const placed = (names: readonly string[]): Key => {
    const key: (string | number)[] = []
    for (const name of names) {
      key.push(name)
      const count = counts.get(JSON.stringify(key))
      if (count !== undefined) key.push(count)
    }
    return key
  }
  const header = (): Key => {
    const isArray = text.startsWith('[[', at)
    expect(isArray ? '[[' : '[')
    const names = dottedKey()
    expect(isArray ? ']]' : ']')
    if (!isArray) return placed(names)
    const parent = [...placed(names.slice(0, -1)), names.at(-1)!]
    const name = JSON.stringify(parent)
    counts.set(name, (counts.get(name) ?? -1) + 1)
    return placed(names)
  }
  const endOfLine = () => {
    const end = text.indexOf('\n', at)
    return end < 0 ? text.length : end + 1
  }

  for (take(BLANK); at < text.length; take(BLANK)) {
    if (text[at] === '[') {
      tables.push({ key: header(), end: endOfLine() })
      continue
    }
    const names = dottedKey()
    expect('=')
    take(SPACE)
    const table = tables.at(-1)!
    value([...table.key, ...names], 0)
    table.end = endOfLine()
  }
  return { values, tables }
}
