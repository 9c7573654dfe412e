/**
 * nginx: the arguments of one directive in a named context. A key is the contexts from the outside in and the directive,
 * such as ["upstream app", "server"]. `server NAME` is the server block that has that server_name; of several equal ones a
 * number says which. Directives are replaced, not added: where one belongs nginx alone knows.
 */
import {
  type ConfigFormat,
  type Key,
  type Scalar,
  showKey,
  splice,
  unsupported,
  type Value,
} from './config-format.ts'
import { type NginxDirective, parseNginx } from './parse-nginx.ts'

export const nginxFormat: ConfigFormat = {
  parseKey: (text) => text.split(' > ').map((part) => (/^\d+$/.test(part) ? Number(part) : part)),
  get(text, key) {
    const found = find(parseNginx(text), key)
    if (!found) return undefined
    const [first, ...more] = found.args
    return more.length > 0 ? found.args : (first ?? '')
  },
  set(text, key, value) {
    const found = find(parseNginx(text), key)
    if (!found) throw unsupported(`${showKey(key)} does not stand in this nginx configuration`)
    return splice(text, found.start, found.end, argsOf(value).map(quoted).join(' '))
  },
  facts: (text) => parseNginx(text).map(plain),
  expected(facts, key, value) {
    const tree = facts as Plain[]
    find(tree, key)!.args = argsOf(value)
    return tree
  },
}

/** A directive without its place. */
interface Plain {
  name: string
  args: readonly string[]
  block?: Plain[]
}

function plain({ name, args, block }: NginxDirective): Plain {
  return { name, args, ...(block && { block: block.map(plain) }) }
}

function argsOf(value: Value): string[] {
  return (typeof value === 'object' ? [...value] : [value]).map((each: Scalar) => String(each))
}

/** The directive at `key`; undefined when there is none. Throws when there are several. */
function find<T extends { name: string; args: readonly string[]; block?: readonly T[] }>(
  tree: readonly T[],
  key: Key,
): T | undefined {
  let among: readonly T[] = tree
  for (let i = 0; i < key.length; i++) {
    const part = key[i]
    if (typeof part !== 'string') throw unsupported(`${showKey(key)} is no key of nginx`)
    const which = key[i + 1]
    const at = typeof which === 'number' ? which : undefined
    if (at !== undefined) i++
    const last = i === key.length - 1
    const found = among.filter((each) => (last ? !each.block && each.name === part : isContext(each, part)))
    if (found.length > 1 && at === undefined)
      throw unsupported(`${showKey(key)} stands there ${found.length} times: say which`)
    const one = found[at ?? 0]
    if (last || !one) return one
    among = one.block!
  }
  return undefined
}

function isContext(
  {
    name,
    args,
    block,
  }: { name: string; args: readonly string[]; block?: readonly { name: string; args: readonly string[] }[] },
  part: string,
): boolean {
  if (!block) return false
  if (part === [name, ...args].join(' ')) return true
  const [, server] = /^server (\S+)$/.exec(part) ?? []
  return (
    name === 'server' &&
    server !== undefined &&
    block.some((each) => each.name === 'server_name' && each.args.includes(server))
  )
}

function quoted(arg: string): string {
  if (arg !== '' && !/[\s;{}"'\\#]/.test(arg)) return arg
  return `"${arg.replaceAll(/["\\]/g, '\\$&')}"`
}
