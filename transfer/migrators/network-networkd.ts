/** systemd-networkd: .network and .link files of /etc/systemd/network, matched by MAC address or name. */
import { setProven, unsupported } from './config-format.ts'
import { editText } from './edit-text.ts'
import { systemdFormat } from './format-systemd.ts'
import type { GuestDraft } from './guest-draft.ts'
import { linesOf, readText } from './guest-text.ts'
import type { ConfiguredInterface, NetworkStack } from './network-stack.ts'
import type { InterfaceInput } from './network-input.ts'

const FOLDER = '/etc/systemd/network'
/** Of [Network]: what makes an interface a part of another one, which has the addresses. */
const MASTERS = ['Bridge', 'Bond']

export const networkd: NetworkStack = {
  name: 'systemd-networkd',

  async find(draft) {
    const found: ConfiguredInterface[] = []
    for (const file of await draft.list(FOLDER)) {
      if (!/\.(?:network|link)$/.test(file)) continue
      const path = `${FOLDER}/${file}`
      const { text } = readText((await draft.read(path)) ?? new Uint8Array())
      const [name, original] = ['Name', 'OriginalName'].map((key) => get(text, ['Match', key]))
      const mac = get(text, ['Match', macKeyOf(text)])
      const own = file.endsWith('.link') ? (get(text, ['Link', 'Name']) ?? original) : name
      // Patterns and lists fit several: they are left as they are.
      if (own !== undefined && /[\s*?[!]/.test(own) && mac === undefined) continue
      if (own === undefined && mac === undefined) continue
      found.push({ path, id: path, name: own, mac: mac?.toLowerCase() })
    }
    return found
  },

  async adapt(draft, { path, mac, name }, wanted) {
    await editText(draft, path, (text) => {
      let now = text
      const set = (section: string, key: string, value: string) =>
        (now = setProven(systemdFormat, now, [section, key], value))
      if (mac !== undefined) set('Match', macKeyOf(now), wanted.mac)
      // An address given to the card: the new network may let no other than the card's own pass.
      if (get(now, ['Link', 'MACAddress']) !== undefined) set('Link', 'MACAddress', wanted.mac)
      if (path.endsWith('.link')) {
        if (wanted.rename !== undefined) set('Link', 'Name', wanted.rename)
        return now
      }
      if (wanted.rename !== undefined && name !== undefined) set('Match', 'Name', wanted.rename)
      return wanted.method === undefined ? now : withAddresses(now, wanted)
    })
    if (wanted.rename !== undefined && path.endsWith('.network')) await nameByMac(draft, wanted)
  },
}

function get(text: string, key: readonly string[]): string | undefined {
  const value = systemdFormat.get(text, key)
  return value === undefined ? undefined : String(value)
}

/** The key by which a file tells a card. */
function macKeyOf(text: string): string {
  return get(text, ['Match', 'PermanentMACAddress']) === undefined ? 'MACAddress' : 'PermanentMACAddress'
}

/** A card keeps the name its configuration knows it by, wherever the new machine puts it. */
export async function nameByMac(draft: GuestDraft, { mac, rename }: InterfaceInput): Promise<void> {
  const content = `# Made by FluidCloud: the name by which this guest configures its network card.\n[Match]\nMACAddress=${mac}\n\n[Link]\nName=${rename}\n`
  await draft.set(`${FOLDER}/10-fluidcloud-${rename}.link`, Buffer.from(content))
}

/** With what says addresses replaced, where the first of it stood. */
function withAddresses(
  text: string,
  { method, addresses = [], gateways = [], nameservers }: InterfaceInput,
): string {
  if (/^[ \t]*\[(?:Address|Route)\]/m.test(text))
    throw unsupported('systemd-networkd has [Address] or [Route] sections there, which are not edited')
  const master = MASTERS.map((key) => get(text, ['Network', key])).find((name) => name !== undefined)
  if (master !== undefined)
    throw unsupported(`systemd-networkd makes it a part of ${master}, whose addresses are not edited`)
  const gone = new Set(['DHCP', 'Address', 'Gateway', ...(nameservers === undefined ? [] : ['DNS'])])
  const more = [
    ...(method === 'dhcp' ? ['DHCP=yes'] : []),
    ...addresses.map((each) => `Address=${each}`),
    ...gateways.map((each) => `Gateway=${each}`),
    ...(nameservers ?? []).map((each) => `DNS=${each}`),
  ].map((line) => `${line}\n`)
  let section = ''
  let placed = false
  const lines = linesOf(text).flatMap((line) => {
    section = /^\s*\[([^\]]+)\]/.exec(line)?.[1] ?? section
    const [, key] = section === 'Network' ? (/^\s*([A-Za-z]+)\s*=/.exec(line) ?? []) : []
    if (key === undefined || !gone.has(key)) return [line]
    const here = placed ? [] : more
    placed = true
    return here
  })
  if (placed) return lines.join('')
  const header = lines.findIndex((line) => /^\s*\[Network\]/.test(line))
  if (header < 0) return `${text.replace(/\n?$/, '\n')}\n[Network]\n${more.join('')}`
  return lines.toSpliced(header + 1, 0, ...more).join('')
}
