/** ifupdown: stanzas of /etc/network/interfaces and interfaces.d. */
import { unsupported } from './config-format.ts'
import { editText } from './edit-text.ts'
import { linesOf, readText } from './guest-text.ts'
import type { GuestDraft } from './guest-draft.ts'
import type { ConfiguredInterface, NetworkStack } from './network-stack.ts'
import { familyOf, type InterfaceInput } from './network-input.ts'
import { hasSystemd } from './has-systemd.ts'
import { nameByMac } from './network-networkd.ts'

const FILE = '/etc/network/interfaces'
const FOLDER = '/etc/network/interfaces.d'
/** What says addresses; all else in a stanza stays. */
const ADDRESS_KEYS = new Set([
  'address',
  'netmask',
  'broadcast',
  'network',
  'gateway',
  'metric',
  'pointopoint',
])
const DNS_KEYS = new Set(['dns-nameservers', 'dns-nameserver'])
/** Commands that set addresses or routes. */
const OWN_COMMAND =
  /^\s*(?:(?:pre|post)-)?(?:up|down)\s.*\b(?:route|ifconfig|ip(?:\s+-\S+)*\s+(?:a|ad|addr|address|r|ro))\b/
const HWADDRESS = /^([ \t]*hwaddress[ \t]+(?:ether[ \t]+)?)(\S+)/im

export const ifupdown: NetworkStack = {
  name: 'ifupdown',

  async find(draft) {
    const found: ConfiguredInterface[] = []
    // One file may tell the MAC address, and another have the rest.
    const macs = new Map<string, string>()
    for (const [path, text] of await files(draft)) {
      const names = new Set<string>()
      for (const { name, text: stanza } of stanzas(text)) {
        if (name === undefined || name === 'lo' || name.includes(':')) continue
        names.add(name)
        const mac = HWADDRESS.exec(stanza)?.[2].toLowerCase()
        if (mac !== undefined && !macs.has(name)) macs.set(name, mac)
      }
      for (const name of names) found.push({ path, id: name, name })
    }
    return found.map((each) => ({ ...each, mac: macs.get(each.id) }))
  },

  async adapt(draft, { path, id, mac }, wanted) {
    const name = wanted.rename ?? id
    const texts = await files(draft)
    const at = texts.findIndex(([other]) => other === path)
    const others: Others = {
      before: families(texts.slice(0, at), id),
      after: families(texts.slice(at + 1), id),
    }
    await editText(draft, path, (text) => {
      let now = text
      if (mac !== undefined)
        now = inStanzas(now, id, (stanza) =>
          stanza.replaceAll(new RegExp(HWADDRESS, 'gim'), `$1${wanted.mac}`),
        )
      return wanted.method === undefined ? now : withAddresses(now, id, wanted, others)
    })
    // Where it is only spoken of, nobody else comes by.
    const spoken = texts.filter(([other, text]) => other === path || families([[other, text]], id).size === 0)
    if (name !== id)
      for (const [other] of spoken) await editText(draft, other, (text) => renamed(text, id, name))
    // Where udev names cards by their place, the new machine may give another name.
    if (wanted.rename !== undefined && (await hasSystemd(draft))) await nameByMac(draft, wanted)
  },
}

interface Stanza {
  /** Undefined for what is no iface stanza. */
  readonly name?: string
  readonly family?: 4 | 6
  readonly text: string
}

/** The text in pieces that are it again when joined; comments and blank lines at the end of a stanza follow it. */
function stanzas(text: string): Stanza[] {
  const found: { name?: string; family?: 4 | 6; text: string }[] = []
  for (const line of linesOf(text)) {
    const [, name, family] = /^\s*iface\s+(\S+)\s+(inet6?)\s/.exec(line) ?? []
    const begins = /^\s*(?:iface|auto|allow-\S+|mapping|source(?:-directory)?|no-auto-down|rename)\s/.test(
      line,
    )
    const isApart = /^\s*(?:#.*)?$/.test(line)
    const current = found.at(-1)
    if (name !== undefined) found.push({ name, family: family === 'inet' ? 4 : 6, text: line })
    else if (!current || begins || (isApart && current.name !== undefined)) found.push({ text: line })
    // Options go on after a comment among them.
    else if (
      current.name === undefined &&
      !isApart &&
      found.at(-2)?.name !== undefined &&
      /^\s+\S/.test(line)
    ) {
      const above = found.at(-2)!
      above.text += current.text + line
      found.pop()
    } else current.text += line
  }
  return found
}

function inStanzas(text: string, id: string, edit: (stanza: string, family: 4 | 6) => string): string {
  return stanzas(text)
    .map((each) => (each.name === id ? edit(each.text, each.family!) : each.text))
    .join('')
}

/** All files in their order, with their texts. */
async function files(draft: GuestDraft): Promise<[path: string, text: string][]> {
  const names = (await draft.list(FOLDER)).filter((name) => /^[\w-]+$/.test(name))
  const texts: [string, string][] = []
  for (const path of [FILE, ...names.map((name) => `${FOLDER}/${name}`)])
    texts.push([path, readText((await draft.read(path)) ?? new Uint8Array()).text])
  return texts
}

/** The families for which other files configure the same interface. */
interface Others {
  readonly before: ReadonlySet<4 | 6>
  readonly after: ReadonlySet<4 | 6>
}

function families(texts: readonly [path: string, text: string][], id: string): Set<4 | 6> {
  const own = texts.flatMap(([, text]) => stanzas(text)).filter(({ name }) => name === id)
  return new Set(own.map(({ family }) => family!))
}

function withAddresses(text: string, id: string, wanted: InterfaceInput, others: Others): string {
  const { method, addresses = [], gateways = [], nameservers } = wanted
  const has = (family: 4 | 6) =>
    others.before.has(family) || others.after.has(family) || families([['', text]], id).has(family)
  const familiesWanted = new Set(method === 'dhcp' ? [4 as const] : addresses.map(familyOf))
  let dnsPlaced = false
  const build = (family: 4 | 6, indent: string): string => {
    const own = <T extends string>(values: readonly T[]) =>
      values.filter((value) => familyOf(value) === family)
    const lines =
      method === 'dhcp'
        ? []
        : [
            ...own(addresses).map((each) => `address ${each}`),
            ...own(gateways).map((each) => `gateway ${each}`),
          ]
    if (nameservers !== undefined && nameservers.length > 0 && !dnsPlaced) {
      dnsPlaced = true
      lines.push(`dns-nameservers ${nameservers.join(' ')}`)
    }
    return lines.map((line) => `${indent}${line}\n`).join('')
  }
  const seen = new Set(others.before)
  const edited = inStanzas(text, id, (stanza, family) => {
    // One stanza a family holds all; of a family without addresses none is left.
    if (seen.has(family) || !familiesWanted.has(family)) return ''
    seen.add(family)
    const [head, ...options] = linesOf(stanza)
    const odd = options.find((line) => OWN_COMMAND.test(line) || /\\\s*$/.test(line))
    if (odd !== undefined)
      throw unsupported(`ifupdown has for ${id} what may not fit new addresses: ${odd.trim()}`)
    const indent = /^[ \t]+/.exec(options.find((line) => /^[ \t]+\S/.test(line)) ?? '')?.[0] ?? '    '
    const kept = options.filter((line) => {
      const key = line.trim().split(/\s+/)[0].toLowerCase()
      return !ADDRESS_KEYS.has(key) && !(nameservers !== undefined && DNS_KEYS.has(key))
    })
    const ended = head.endsWith('\n') ? head : `${head}\n`
    const asked = ended.replace(/(\sinet6?\s+)\S+/, `$1${method === 'dhcp' ? 'dhcp' : 'static'}`)
    return asked + build(family, indent) + kept.join('')
  })
  const missing = [...familiesWanted].filter((family) => !has(family))
  const more = missing.map(
    (family) => `\niface ${id} inet${family === 6 ? '6' : ''} ${method}\n${build(family, '    ')}`,
  )
  return edited.replace(/([^\n])$/, '$1\n') + more.join('')
}

/** The name on every line that is about the interface. Throws GUEST_UNSUPPORTED where it is spoken of in another way. */
function renamed(text: string, from: string, to: string): string {
  const mention = new RegExp(`(?<![\\w.-])${from.replaceAll('.', '\\.')}(?![\\w-])`)
  return linesOf(text)
    .map((line) => {
      const isAbout = /^\s*(?:iface|auto|allow-\S+|mapping)\s/.test(line)
      const now = isAbout
        ? line.replaceAll(/\S+/g, (word, at: number) => (at > 0 && word === from ? to : word))
        : line
      if (!now.trimStart().startsWith('#') && mention.test(now))
        throw unsupported(`ifupdown speaks of ${from} in a way that is not renamed: ${now.trim()}`)
      return now
    })
    .join('')
}
