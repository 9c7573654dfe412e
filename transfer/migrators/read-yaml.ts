/** YAML of a guest. Guests are hostile: what it takes to read theirs has bounds. */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  type Node,
  parseAllDocuments,
} from 'yaml'
import type { FluidError } from '../../protocol/errors.ts'
import { unsupported } from './config-format.ts'

/** In UTF-16 units, as text.length: twice what is edited. Some of what the package does grows with the square. */
const MAX_LENGTH = 256 * 1024
/** Collections in each other: to go through them takes stack. */
const MAX_DEPTH = 100
/** Of one document, and of one anchor: the package may go through the document for each. */
const MAX_ALIASES = 256
const MAX_ALIASES_OF_ANCHOR = 100
/** Of a message, and of a key in one. */
const MAX_QUOTED_LENGTH = 128

/**
 * The one document of `text`. Throws GUEST_UNSUPPORTED for what is not YAML, has several documents, the same key twice in a
 * map, or a collection as a key; and for what is too long, nested too deep or has too many aliases.
 */
export function readYaml(text: string): Document {
  if (text.length > MAX_LENGTH)
    throw unsupported(`The YAML file has ${text.length} characters: more than ${MAX_LENGTH} are not read`)
  // The package would compare each key with all before it, and count lines anew for each error.
  const options = { merge: true, logLevel: 'error', uniqueKeys: false, prettyErrors: false } as const
  const [document, another] = parseAllDocuments(text, options) as Document[]
  if (another) throw unsupported('The YAML file has several documents')
  if (!document) return readYaml('# empty\n---\n')
  const [error] = document.errors
  if (error) throw notYaml(error, ` at line ${lineAt(text, error.pos[0])}`)
  check(document, text)
  return document
}

/** What it says, as plain values. Throws GUEST_UNSUPPORTED for aliases of nothing or of too much. */
export function yamlFacts(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES_OF_ANCHOR }) as unknown
  } catch (error) {
    throw notYaml(error as Error)
  }
}

function notYaml(error: Error, where = ''): FluidError {
  // Some messages quote the file.
  return unsupported(`The file is not YAML: ${error.message.slice(0, MAX_QUOTED_LENGTH)}${where}`, error)
}

function check(document: Document, text: string): void {
  let aliases = 0
  const refuse = (node: Node, what: string): never => {
    throw unsupported(`The YAML file has ${what}, at line ${lineAt(text, node.range![0])}`)
  }
  const visit = (node: unknown, depth: number): void => {
    if (isPair(node)) {
      // To JavaScript a key is a text: the package would write down all that is in it, for each collection in there anew.
      if (isCollection(node.key)) refuse(node.key, 'a key that is no single value')
      visit(node.key, depth)
      visit(node.value, depth)
    } else if (isAlias(node)) {
      if (++aliases > MAX_ALIASES) refuse(node, `more than ${MAX_ALIASES} aliases`)
    } else if (isCollection(node)) {
      if (depth > MAX_DEPTH) refuse(node, `more than ${MAX_DEPTH} collections in each other`)
      const keys = new Set<unknown>()
      for (const item of node.items) {
        const key = isMap(node) && isPair(item) && isScalar(item.key) ? item.key : undefined
        if (key && keys.has(key.value))
          refuse(key, `the key ${JSON.stringify(String(key.value).slice(0, MAX_QUOTED_LENGTH))} twice`)
        if (key) keys.add(key.value)
        visit(item, depth + 1)
      }
    }
  }
  visit(document.contents, 1)
}

function lineAt(text: string, at: number): number {
  return text.slice(0, at).split('\n').length
}
