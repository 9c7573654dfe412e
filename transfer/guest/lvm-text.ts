/** The text that LVM keeps its volume groups in (lvm2, lib/config): sections, numbers, words and lists. It is hostile. */
import { damaged } from './disk-reader.ts'

export type LvmValue = number | string | readonly (number | string)[] | LvmSection
export interface LvmSection extends ReadonlyMap<string, LvmValue> {}

const MAX_DEPTH = 8
const TOKEN = /\s+|#[^\n]*|("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?)|([A-Za-z_][\w.+-]*)|([{}[\]=,])/y

interface Token {
  readonly kind: 'word' | 'string' | 'number' | 'sign'
  readonly text: string
}

/** Parses all of `text`. Throws GUEST_UNSUPPORTED. */
export function parseLvmText(text: string): LvmSection {
  const tokens = tokensOf(text.replace(/\0.*$/s, ''))
  let at = 0
  const next = () => tokens[at++] ?? { kind: 'sign', text: '' }
  const section = (depth: number): LvmSection => {
    if (depth > MAX_DEPTH) throw broken()
    const values = new Map<string, LvmValue>()
    while (at < tokens.length) {
      const name = next()
      if (name.text === '}' && name.kind === 'sign' && depth > 0) return values
      if (name.kind !== 'word' && name.kind !== 'string') throw broken()
      const sign = next()
      if (sign.text === '{') values.set(name.text, section(depth + 1))
      else if (sign.text === '=') values.set(name.text, value())
      else throw broken()
    }
    if (depth > 0) throw broken()
    return values
  }
  const value = (): number | string | (number | string)[] => {
    const token = next()
    if (token.text !== '[' || token.kind !== 'sign') return plain(token)
    const list: (number | string)[] = []
    for (let item = next(); item.text !== ']' || item.kind !== 'sign'; item = next()) {
      if (item.text === '') throw broken()
      if (item.text !== ',' || item.kind !== 'sign') list.push(plain(item))
    }
    return list
  }
  return section(0)
}

function plain({ kind, text }: Token): number | string {
  if (kind === 'number') return Number(text)
  if (kind === 'sign') throw broken()
  return text
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.length) {
    const found = TOKEN.exec(text)
    if (!found) throw broken()
    const [, string, number, word, sign] = found
    if (string !== undefined)
      tokens.push({ kind: 'string', text: string.slice(1, -1).replaceAll(/\\(.)/g, '$1') })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else if (word !== undefined) tokens.push({ kind: 'word', text: word })
    else if (sign !== undefined) tokens.push({ kind: 'sign', text: sign })
  }
  return tokens
}

function broken(): Error {
  return damaged('the description of its LVM volume group cannot be read')
}
