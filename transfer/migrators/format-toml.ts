/** TOML: the value is replaced where it stands; smol-toml says before and after what the file says. */
import { parse } from 'smol-toml'
import {
  type ConfigFormat,
  type Key,
  nestedExpected,
  nestedGet,
  showKey,
  splice,
  unsupported,
  type Value,
} from './config-format.ts'
import { dotted } from './format-json.ts'
import { endedText, lineEnd } from './guest-text.ts'
import { scanToml } from './scan-toml.ts'

export const tomlFormat: ConfigFormat = {
  parseKey: dotted,
  get: (text, key) => nestedGet(read(text), key),
  set(text, key, value) {
    const { values, tables } = scanToml(text)
    const found = values.find((each) => sameKey(each.key, key))
    if (found) return splice(text, found.start, found.end, written(value, text[found.start]))
    // Inside the longest table that begins the key; further names are dotted.
    const table = tables
      .filter((each) => each.key.length < key.length && sameKey(each.key, key.slice(0, each.key.length)))
      .reduce((best, each) => (each.key.length >= best.key.length ? each : best), { key: [] as Key, end: 0 })
    const rest = key.slice(table.key.length)
    if (rest.some((part) => typeof part !== 'string'))
      throw unsupported(`${showKey(key)} has no place in this TOML file`)
    const eol = lineEnd(text)
    const above = endedText(text.slice(0, table.end))
    if (table.key.length > 0 || rest.length === 1)
      return `${above}${line(rest, value, eol)}${text.slice(table.end)}`
    const ended = endedText(text)
    return `${ended}${ended === '' ? '' : eol}[${rest.slice(0, -1).map(name).join('.')}]${eol}${line(rest.slice(-1), value, eol)}`
  },
  facts: read,
  expected: (facts, key, value) => nestedExpected(facts, key, value),
}

function sameKey(a: Key, b: Key): boolean {
  return a.length === b.length && a.every((part, i) => part === b[i])
}

function line(key: Key, value: Value, eol: string): string {
  return `${key.map(name).join('.')} = ${written(value)}${eol}`
}

function name(part: string | number): string {
  return /^[\w-]+$/.test(String(part)) ? String(part) : JSON.stringify(part)
}

/** JSON's strings, numbers and lists are TOML's too; `like` are the quotes that stood there. */
function written(value: Value, like?: string): string {
  if (like === "'" && typeof value === 'string' && !/['\x00-\x1f\x7f]/.test(value)) return `'${value}'`
  return typeof value === 'object'
    ? `[${value.map((each) => written(each)).join(', ')}]`
    : JSON.stringify(value)
}

function read(text: string): unknown {
  try {
    return parse(text)
  } catch (cause) {
    throw unsupported(`The file is not TOML: ${(cause as Error).message.split('\n')[0]}`, cause)
  }
}
