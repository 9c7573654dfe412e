/** YAML of one document: a value is replaced where it stands, in the quotes it has; comments and layout are not touched. */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  type Node,
  Scalar,
  stringify,
} from 'yaml'
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
import { readYaml, yamlFacts } from './read-yaml.ts'

export const yamlFormat: ConfigFormat = {
  parseKey: dotted,
  get: (text, key) => nestedGet(facts(text), key),
  set(text, key, value) {
    const document = readYaml(text)
    const node = document.getIn(key, true) as Node | undefined
    if (node && !(isScalar(node) && node.value === null && node.range![0] === node.range![1]))
      return replaced(text, node, key, value)
    for (let depth = key.length - 1; depth >= 0; depth--) {
      const parent = document.getIn(key.slice(0, depth), true) as Node | undefined
      if (!parent) continue
      if (!isScalar(parent) || parent.value !== null) return added(text, parent, key.slice(depth), value)
      if (depth > 0) return filled(text, document, key, depth, value)
    }
    if (text.replaceAll(/#.*/g, '').trim() !== '')
      throw unsupported(`${showKey(key)} has no place in this YAML file`)
    return endedText(text) + blockOf(key, value, '', lineEnd(text))
  },
  facts,
  expected: (facts, key, value) => nestedExpected(facts, key, value),
}

function facts(text: string): unknown {
  return yamlFacts(readYaml(text))
}

function replaced(text: string, node: Node, key: Key, value: Value): string {
  if (isAlias(node)) throw unsupported(`${showKey(key)} is an alias: edit what it stands for`)
  const [start, end] = node.range!
  if (isScalar(node) && typeof value !== 'object') {
    if (node.type === Scalar.QUOTE_SINGLE && typeof value === 'string')
      return splice(text, start, end, `'${value.replaceAll("'", "''")}'`)
    if (node.type === Scalar.QUOTE_DOUBLE && typeof value === 'string')
      return splice(text, start, end, JSON.stringify(value))
    if (node.type === Scalar.PLAIN) {
      const plain = splice(text, start, end, plainOf(value))
      return says(plain, key, value) ? plain : splice(text, start, end, JSON.stringify(value))
    }
    // A block of lines: what follows begins a line of its own.
    return splice(text, start, end, JSON.stringify(value) + (text[end - 1] === '\n' ? lineEnd(text) : ''))
  }
  if (isSeq(node) && !node.flow && typeof value === 'object' && value.length > 0) {
    const indent = ' '.repeat(columnOf(text, start))
    const items = value.map((each) => `- ${plainOf(each)}`).join(lineEnd(text) + indent)
    return splice(text, start, contentEnd(text, end), items)
  }
  return splice(text, start, isCollection(node) ? contentEnd(text, end) : end, JSON.stringify(value))
}

/** Without quotes where neither YAML 1.1 nor 1.2 reads something else. */
function plainOf(value: Value): string {
  const [plain, plain11] = (['1.2', '1.1'] as const).map((version) =>
    stringify(value, { lineWidth: 0, version }).trimEnd(),
  )
  return plain === plain11 ? plain : JSON.stringify(value)
}

function says(text: string, key: Key, value: Value): boolean {
  try {
    return nestedGet(facts(text), key) === value
  } catch {
    return false
  }
}

/** Puts what is missing of a key at the end of the map that is there. */
function added(text: string, parent: Node, rest: Key, value: Value): string {
  if (!isMap(parent) || typeof rest[0] !== 'string') throw unsupported(`${showKey(rest)} has no place there`)
  const [start, end] = parent.range!
  if (parent.flow) {
    const closing = text.lastIndexOf('}', end)
    const inner = text.slice(start + 1, closing).trimEnd()
    const comma = inner.trim() === '' || inner.endsWith(',') ? '' : ','
    const entry = `${comma} ${JSON.stringify(rest[0])}: ${JSON.stringify(nestedExpected(undefined, rest.slice(1), value))}`
    return splice(text, start + 1 + inner.length, closing, `${entry} `)
  }
  const indent = ' '.repeat(columnOf(text, start))
  const at = lineAfter(text, contentEnd(text, end))
  const above = endedText(text.slice(0, at))
  return above + blockOf(rest, value, indent, lineEnd(text)) + text.slice(at)
}

/** Puts what is missing under a key that stands there without a value. */
function filled(text: string, document: Document, key: Key, depth: number, value: Value): string {
  const above = document.getIn(key.slice(0, depth - 1), true)
  const pair = isMap(above)
    ? above.items.find((each) => isScalar(each.key) && each.key.value === key[depth - 1])
    : undefined
  const [start, end] = (pair?.key as Node | undefined)?.range ?? []
  if (start === undefined || end === undefined || (isMap(above) && above.flow))
    throw unsupported(`${showKey(key)} has no place in this YAML file`)
  const at = lineAfter(text, end)
  if (!/^\s*:\s*(?:#.*)?$/.test(text.slice(end, at)))
    throw unsupported(`${showKey(key)} has no place in this YAML file`)
  const indent = ' '.repeat(columnOf(text, start) + 2)
  return (
    endedText(text.slice(0, at)) + blockOf(key.slice(depth), value, indent, lineEnd(text)) + text.slice(at)
  )
}

/** Lines of `key: value`, nested as deep as the key is long. */
function blockOf(key: Key, value: Value, indent: string, eol: string): string {
  const [name, ...rest] = key
  const head = `${indent}${plainOf(String(name))}:`
  if (rest.length > 0) return `${head}${eol}${blockOf(rest, value, `${indent}  `, eol)}`
  if (typeof value !== 'object' || value.length === 0)
    return `${head} ${typeof value === 'object' ? '[]' : plainOf(value)}${eol}`
  return `${head}${eol}${value.map((each) => `${indent}  - ${plainOf(each)}${eol}`).join('')}`
}

/** Where content ends that may be followed by blank lines and comments. */
function contentEnd(text: string, end: number): number {
  const lines = text.slice(0, end).split('\n')
  while (lines.length > 1 && /^\s*(?:#.*)?$/.test(lines.at(-1)!)) lines.pop()
  return lines.join('\n').trimEnd().length
}

function lineAfter(text: string, at: number): number {
  const end = text.indexOf('\n', at)
  return end < 0 ? text.length : end + 1
}

function columnOf(text: string, at: number): number {
  return at - (text.lastIndexOf('\n', at - 1) + 1)
}
