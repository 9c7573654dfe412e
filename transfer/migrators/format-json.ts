/** JSON, with comments and trailing commas if the file has them. */
import {
  findNodeAtLocation,
  type Node,
  parse,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from 'jsonc-parser'
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

export const jsonFormat: ConfigFormat = {
  parseKey: dotted,
  get: (text, key) => nestedGet(read(text), key),
  set(text, key, value) {
    const tree = parseTree(text, [], { allowTrailingComma: true })
    const node = tree && findNodeAtLocation(tree, [...key])
    if (node) return splice(text, node.offset, node.offset + node.length, JSON.stringify(value))
    for (let depth = key.length - 1; tree && depth >= 0; depth--) {
      const parent = findNodeAtLocation(tree, key.slice(0, depth))
      if (parent) return added(text, parent, key.slice(depth), value)
    }
    throw unsupported(`${showKey(key)} has no place in this JSON file`)
  },
  facts: read,
  expected: (facts, key, value) => nestedExpected(facts, key, value),
}

/** Puts what is missing of a key after the last of an object, laid out as that is. */
function added(text: string, parent: Node, [name, ...rest]: Key, value: Value): string {
  if (parent.type !== 'object' || typeof name !== 'string') throw unsupported(`${name} has no place there`)
  const content = JSON.stringify(nestedExpected(undefined, rest, value))
  const last = parent.children?.at(-1)
  if (!last) return splice(text, parent.offset + 1, parent.offset + 1, `${JSON.stringify(name)}: ${content}`)
  const before = text.slice(0, last.offset)
  const space = before.slice(before.trimEnd().length)
  const [lastName, lastValue] = last.children!
  const colon = text.slice(lastName.offset + lastName.length, lastValue.offset)
  const at = last.offset + last.length
  return splice(text, at, at, `,${space}${JSON.stringify(name)}${colon}${content}`)
}

/** Parts between dots; whole numbers are places in lists. */
export function dotted(text: string): Key {
  return text.split('.').map((part) => (/^(?:0|[1-9]\d*)$/.test(part) ? Number(part) : part))
}

function read(text: string): unknown {
  const errors: ParseError[] = []
  let value: unknown
  try {
    value = parse(text, errors, { allowTrailingComma: true, disallowComments: false })
  } catch (error) {
    throw unsupported('The file is JSON nested too deeply', error)
  }
  if (errors.length > 0)
    throw unsupported(`The file is not JSON: ${printParseErrorCode(errors[0].error)} at ${errors[0].offset}`)
  return value
}
