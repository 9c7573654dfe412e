/** netplan: interfaces under network.ethernets of /etc/netplan/*.yaml. */
import { type Key, setProven, unsupported, type Value } from './config-format.ts'
import { editText } from './edit-text.ts'
import { yamlFormat } from './format-yaml.ts'
import type { GuestDraft } from './guest-draft.ts'
import { readText } from './guest-text.ts'
import { readYaml, yamlFacts } from './read-yaml.ts'
import { removeYamlKey } from './remove-yaml-key.ts'
import type { ConfiguredInterface, NetworkStack } from './network-stack.ts'
import { familyOf, type InterfaceInput } from './network-input.ts'

const FOLDER = '/etc/netplan'

interface Ethernet {
  readonly match?: { readonly macaddress?: string; readonly name?: string }
  readonly 'set-name'?: string
  readonly macaddress?: string
  readonly [key: string]: unknown
}

export const netplan: NetworkStack = {
  name: 'netplan',

  async find(draft) {
    const found: ConfiguredInterface[] = []
    for (const name of await draft.list(FOLDER)) {
      if (!name.endsWith('.yaml')) continue
      const path = `${FOLDER}/${name}`
      for (const [id, { match, 'set-name': set }] of Object.entries(await ethernets(draft, path)))
        found.push({
          path,
          id,
          name: set ?? match?.name ?? (match ? undefined : id),
          mac: match?.macaddress?.toLowerCase(),
        })
    }
    return found
  },

  async adapt(draft, { path, id }, wanted) {
    const before = (await ethernets(draft, path))[id]
    const at = (...key: string[]): Key => ['network', 'ethernets', id, ...key]
    await editText(draft, path, (text) => {
      let now = text
      const set = (key: Key, value: Value) => (now = setProven(yamlFormat, now, key, value))
      const drop = (...key: string[]) => (now = removeYamlKey(now, at(...key)))
      if (before.match?.macaddress !== undefined) set(at('match', 'macaddress'), wanted.mac)
      if (wanted.rename !== undefined) {
        if (before.match?.macaddress === undefined) {
          // Told by its name until now, which is another at the target: from now on by its MAC address.
          drop('match')
          set(at('match', 'macaddress'), wanted.mac)
        }
        set(at('set-name'), wanted.rename)
      }
      if (wanted.method === undefined) return now
      setAddresses(wanted, before, { set: (key, value) => set(at(...key), value), drop })
      return now
    })
  },
}

function setAddresses(
  { method, addresses = [], gateways, nameservers }: InterfaceInput,
  before: Ethernet,
  edit: { set(key: readonly string[], value: Value): void; drop(...key: string[]): void },
): void {
  const has = (key: string) => Object.hasOwn(before, key)
  for (const key of ['gateway4', 'gateway6']) if (has(key)) edit.drop(key)
  if (has('routes') && (method === 'dhcp' || gateways !== undefined)) {
    const routes = before.routes as readonly { to?: string }[]
    if (routes.every(({ to }) => to === 'default' || to === '0.0.0.0/0' || to === '::/0')) edit.drop('routes')
    else throw unsupported('netplan has routes of its own there, which would not fit new addresses')
  }
  if (method === 'dhcp') {
    if (has('addresses')) edit.drop('addresses')
    edit.set(['dhcp4'], true)
  } else {
    for (const key of ['dhcp4', 'dhcp6']) if (has(key)) edit.set([key], false)
    edit.set(['addresses'], addresses)
    for (const gateway of gateways ?? []) edit.set([`gateway${familyOf(gateway)}`], gateway)
  }
  if (nameservers !== undefined) edit.set(['nameservers', 'addresses'], nameservers)
}

async function ethernets(draft: GuestDraft, path: string): Promise<Readonly<Record<string, Ethernet>>> {
  const bytes = await draft.read(path)
  try {
    const file = yamlFacts(readYaml(readText(bytes ?? new Uint8Array()).text)) as {
      network?: { ethernets?: Record<string, Ethernet | null> }
    } | null
    const found = Object.entries(file?.network?.ethernets ?? {})
    return Object.fromEntries(found.map(([id, ethernet]) => [id, ethernet ?? {}]))
  } catch (error) {
    throw unsupported(`${path}: ${(error as Error).message}`, error)
  }
}
