/** Takes one key with its value out of YAML, with the lines it stands on. */
import { isDeepStrictEqual } from 'node:util'
import { isMap, isScalar, type Node } from 'yaml'
import { type Key, showKey, unsupported } from './config-format.ts'
import { readYaml, yamlFacts } from './read-yaml.ts'

/** Unchanged when there is no such key. Throws GUEST_UNSUPPORTED when nothing but that cannot be taken out. */
export function removeYamlKey(text: string, key: Key): string {
  const document = readYaml(text)
  const parent = document.getIn(key.slice(0, -1), true)
  if (!isMap(parent)) return text
  const at = parent.items.findIndex((each) => isScalar(each.key) && each.key.value === key.at(-1))
  if (at < 0) return text
  const removed = parent.flow ? withoutFlow(text, parent, at) : withoutBlock(text, parent, at)
  document.deleteIn(key)
  // A map that is empty now reads as nothing.
  if (parent.items.length > 0 && !isDeepStrictEqual(yamlFacts(readYaml(removed)), yamlFacts(document)))
    throw unsupported(`${showKey(key)} cannot be taken out without changing something else`)
  return removed
}

interface Pairs {
  readonly items: readonly { readonly key: unknown; readonly value: unknown }[]
}

function rangeOf(node: unknown): [start: number, valueEnd: number] {
  const [start, end] = (node as Node).range!
  return [start, end]
}

function withoutBlock(text: string, { items }: Pairs, at: number): string {
  const [start] = rangeOf(items[at].key)
  const next = items[at + 1]
  const lineStart = text.lastIndexOf('\n', start - 1) + 1
  if (text.slice(lineStart, start).trim() !== '')
    throw unsupported('A key that stands in a list cannot be taken out')
  const ends = [rangeOf(items[at].key)[1], ...(items[at].value ? [rangeOf(items[at].value)[1]] : [])]
  const content = text.slice(0, next ? rangeOf(next.key)[0] : Math.max(...ends))
  // Comments and blank lines before what follows belong to that.
  const lines = content.slice(lineStart).split('\n')
  while (lines.length > 1 && /^\s*(?:#.*)?$/.test(lines.at(-1)!)) lines.pop()
  const last = lineStart + lines.join('\n').length
  const lineEnd = text.indexOf('\n', last)
  return text.slice(0, lineStart) + (lineEnd < 0 ? '' : text.slice(lineEnd + 1))
}

function withoutFlow(text: string, { items }: Pairs, at: number): string {
  const [start] = rangeOf(items[at].key)
  const next = items[at + 1]
  if (next) return text.slice(0, start) + text.slice(rangeOf(next.key)[0])
  const before = items[at - 1]
  const end = rangeOf(items[at].value ?? items[at].key)[1]
  return text.slice(0, before ? rangeOf(before.value ?? before.key)[1] : start) + text.slice(end)
}
