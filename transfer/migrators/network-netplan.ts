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

type Mapping = Readonly<Record<string, unknown>>

/** What an interface may be a port of; it has no addresses of its own then. */
const MASTERS = ['bonds', 'bridges']

export const netplan: NetworkStack = {
  name: 'netplan',

  async find(draft) {
    const found: ConfiguredInterface[] = []
    for (const path of await files(draft)) {
      for (const [id, ethernet] of Object.entries(await definitions(draft, path, 'ethernets'))) {
        const { match, 'set-name': set } = mapping(ethernet)
        const { name, macaddress } = mapping(match)
        found.push({
          path,
          id,
          name: word(set) ?? word(name) ?? (match ? undefined : id),
          mac: word(macaddress)?.toLowerCase(),
        })
      }
    }
    return found
  },

  async adapt(draft, { path, id }, wanted) {
    const before = mapping((await definitions(draft, path, 'ethernets'))[id])
    const isTold = mapping(before.match).macaddress !== undefined
    if (wanted.method !== undefined) await refusePort(draft, id)
    const at = (...key: string[]): Key => ['network', 'ethernets', id, ...key]
    await editText(draft, path, (text) => {
      let now = text
      const set = (key: Key, value: Value) => (now = setProven(yamlFormat, now, key, value))
      const drop = (...key: string[]) => (now = removeYamlKey(now, at(...key)))
      if (isTold) set(at('match', 'macaddress'), wanted.mac)
      // An address given to the card: the new network may let no other than the card's own pass.
      if (before.macaddress !== undefined) set(at('macaddress'), wanted.mac)
      if (wanted.rename !== undefined) {
        if (!isTold) {
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
  before: Mapping,
  edit: { set(key: readonly string[], value: Value): void; drop(...key: string[]): void },
): void {
  const has = (key: string) => Object.hasOwn(before, key)
  for (const key of ['gateway4', 'gateway6']) if (has(key)) edit.drop(key)
  if (has('routes')) {
    if (![before.routes ?? []].flat().every(isDefaultRoute))
      throw unsupported('netplan has routes of its own there, which would not fit new addresses')
    edit.drop('routes')
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

/** A route by another table is a part of something. */
function isDefaultRoute(route: unknown): boolean {
  const { to, table } = mapping(route)
  return table === undefined && (to === 'default' || to === '0.0.0.0/0' || to === '::/0')
}

async function refusePort(draft: GuestDraft, id: string): Promise<void> {
  for (const path of await files(draft))
    for (const kind of MASTERS)
      for (const [name, master] of Object.entries(await definitions(draft, path, kind)))
        if ([mapping(master).interfaces].flat().includes(id))
          throw unsupported(`${id} is a part of ${name} of netplan, whose addresses are not edited`)
}

async function files(draft: GuestDraft): Promise<string[]> {
  return (await draft.list(FOLDER))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => `${FOLDER}/${name}`)
}

/** What a file says of the interfaces of one kind, by their ids. */
async function definitions(draft: GuestDraft, path: string, kind: string): Promise<Mapping> {
  const bytes = await draft.read(path)
  try {
    const file = yamlFacts(readYaml(readText(bytes ?? new Uint8Array()).text))
    return mapping(mapping(mapping(file).network)[kind])
  } catch (error) {
    throw unsupported(`${path}: ${(error as Error).message}`, error)
  }
}

function mapping(value: unknown): Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Mapping) : {}
}

function word(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
