/**
 * KEY=VALUE files, as shells, systemd and dotenv read them: the last of equal keys counts, quotes are kept as they are
 * where they can hold the new value.
 */
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

interface Assignment {
  readonly key: readonly string[]
  readonly value: string
  readonly quote: '' | '"' | "'"
  /** Of the value with its quotes. */
  readonly start: number
  readonly end: number
}

const NAME = /^[A-Za-z_][\w.-]*$/
const BEGIN = /[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*=[ \t]*/y
const QUOTED = /(?:'([^']*)'|"((?:[^"\\]|\\[^])*)")(?=[ \t]*(?:[ \t]#[^\n]*)?(?:\r?\n|\r?$))/y
const BARE = /[^\r\n]*/y
/** What needs no quotes anywhere. */
const PLAIN = /^[\w./:@%+,=?&~-]*$/

export const envFormat: ConfigFormat = {
  parseKey: (text) => [text],
  get: (text, key) => last(text, key)?.value,
  set(text, key, value) {
    const wanted = asString(value, key)
    const found = last(text, key)
    if (found) return splice(text, found.start, found.end, quoted(wanted, found.quote))
    return `${endedText(text)}${nameOf(key)}=${quoted(wanted, '')}${lineEnd(text)}`
  },
  facts: (text) => flatFacts(assignments(text)),
  expected: (facts, key, value) => flatExpected(facts as FlatFacts, [nameOf(key)], asString(value, key)),
}

function nameOf(key: Key): string {
  const [name] = key
  if (key.length !== 1 || typeof name !== 'string' || !NAME.test(name))
    throw unsupported(`${showKey(key)} is no name of a variable`)
  return name
}

function last(text: string, key: Key): Assignment | undefined {
  const name = nameOf(key)
  return [...assignments(text)].findLast((each) => each.key[0] === name)
}

function* assignments(text: string): Generator<Assignment> {
  let at = 0
  while (at < text.length) {
    BEGIN.lastIndex = at
    const [begun, name] = BEGIN.exec(text) ?? []
    if (begun !== undefined) {
      const start = at + begun.length
      const assignment = { key: [name], ...valueAt(text, start) }
      yield assignment
      at = assignment.end
    }
    const end = text.indexOf('\n', at)
    at = end < 0 ? text.length : end + 1
  }
}

function valueAt(text: string, start: number): Omit<Assignment, 'key'> {
  QUOTED.lastIndex = start
  const [whole, single, double] = QUOTED.exec(text) ?? []
  if (whole !== undefined) {
    const value = single ?? double.replaceAll(/\\(["\\$`])/g, '$1')
    return { value, quote: single === undefined ? '"' : "'", start, end: start + whole.length }
  }
  BARE.lastIndex = start
  const [line] = BARE.exec(text)!
  const comment = /(?:^|[ \t])#/.exec(line)?.index ?? line.length
  const value = line.slice(0, comment).trimEnd()
  return { value, quote: '', start, end: start + value.length }
}

function quoted(value: string, quote: Assignment['quote']): string {
  if (quote === '' && PLAIN.test(value)) return value
  if (quote !== '"' && !value.includes("'")) return `'${value}'`
  return `"${value.replaceAll(/["\\$`]/g, '\\$&')}"`
}
