/**
 * A guest's network cards in its new home: which configuration names them, their MAC addresses, and the addresses they
 * get. Edited is each stack that configures the interface; one that cannot be edited is a refusal, not a surprise.
 */
import { FluidError } from '../../protocol/errors.ts'
import { unsupported } from './config-format.ts'
import { editText } from './edit-text.ts'
import type { GuestDraft } from './guest-draft.ts'
import { ifupdown } from './network-ifupdown.ts'
import type { InterfaceInput } from './network-input.ts'
import type { ConfiguredInterface, NetworkStack } from './network-stack.ts'
import { netplan } from './network-netplan.ts'
import { networkd } from './network-networkd.ts'

const STACKS: readonly NetworkStack[] = [netplan, networkd, ifupdown]
const UDEV_RULES = '/etc/udev/rules.d/70-persistent-net.rules'

/** Names of the stacks that configure anything in this guest. */
export async function networkStacks(draft: GuestDraft): Promise<string[]> {
  const names: string[] = []
  for (const stack of STACKS) if ((await stack.find(draft)).length > 0) names.push(stack.name)
  for (const folder of OTHERS)
    if ((await namesIn(draft, folder)).some((name) => !name.startsWith('.'))) names.push(folder)
  return names
}

/** Stacks that are recognised, not edited. */
const OTHERS = [
  '/etc/NetworkManager/system-connections',
  '/etc/sysconfig/network-scripts',
  '/etc/sysconfig/network',
] as const

/** Adapts each. Throws GUEST_UNSUPPORTED for an interface that nothing configures, when more is asked than a MAC address. */
export async function adaptNetwork(
  draft: GuestDraft,
  interfaces: readonly InterfaceInput[],
  macs: readonly string[],
): Promise<void> {
  for (const wanted of interfaces) {
    if (!macs.includes(wanted.mac))
      throw new FluidError('USAGE', `The machine will have no network card ${wanted.mac}`, {
        hint: `Its cards: ${macs.join(', ') || 'none'}`,
      })
    await adaptInterface(draft, wanted, { isOnly: interfaces.length === 1, cards: macs.length })
  }
}

interface Asked {
  /** Nothing is asked of another interface. */
  readonly isOnly: boolean
  /** Network cards that the machine will have. */
  readonly cards: number
}

async function adaptInterface(draft: GuestDraft, wanted: InterfaceInput, asked: Asked): Promise<void> {
  const isInRules = await adaptUdevRules(draft, wanted)
  let adapted = false
  for (const stack of STACKS) {
    for (const found of chosen(await stack.find(draft), wanted, asked)) {
      await stack.adapt(draft, found, wanted)
      adapted = true
    }
  }
  if (adapted) return
  await refusePinned(draft, wanted)
  // Rules of udev tell a card's name, not what is configured under it.
  if (wanted.method === undefined && wanted.rename === undefined && (isInRules || wanted.name === undefined))
    return
  const stacks = await networkStacks(draft)
  const which = wanted.name ?? wanted.previousMac ?? 'interface'
  throw unsupported(
    `The guest configures no ${which} that can be adapted; its network is configured by ${stacks.join(', ') || 'nothing that is known'}`,
  )
}

/** Those that mean the wanted interface: by name, by old or new MAC address, or as the only one. */
function chosen(
  found: readonly ConfiguredInterface[],
  wanted: InterfaceInput,
  { isOnly, cards }: Asked,
): readonly ConfiguredInterface[] {
  const named = found.filter(
    ({ name, mac }) =>
      (mac !== undefined && (mac === wanted.previousMac || mac === wanted.mac)) ||
      (name !== undefined && (name === wanted.name || name === wanted.rename)),
  )
  if (named.length > 0 || wanted.name !== undefined || wanted.previousMac !== undefined) return named
  const names = new Set(found.map(({ name, id }) => name ?? id))
  if (!isOnly || names.size !== 1) return []
  // A pattern, or a driver, fits all cards.
  const fitsAll = found.some(
    ({ name, mac }) => mac === undefined && (name === undefined || /[*?[]/.test(name)),
  )
  return fitsAll && cards > 1 ? [] : found
}

/** A stack that is not edited may tell the card by the MAC address that goes: it would not be configured any more. */
async function refusePinned(draft: GuestDraft, { mac, previousMac }: InterfaceInput): Promise<void> {
  if (previousMac === undefined || previousMac === mac) return
  for (const folder of OTHERS) {
    for (const name of await namesIn(draft, folder)) {
      const path = `${folder}/${name}`
      if ((await draft.entry(path))?.kind !== 'file') continue
      const bytes = await draft.read(path)
      if (
        Buffer.from(bytes ?? [])
          .toString('latin1')
          .toLowerCase()
          .includes(previousMac)
      )
        throw unsupported(`${path} is for the network card ${previousMac}, and is not edited`)
    }
  }
}

/** Of Red Hat's, the last of OTHERS is a file. */
async function namesIn(draft: GuestDraft, folder: string): Promise<string[]> {
  return (await draft.entry(folder))?.kind === 'file' ? [] : draft.list(folder)
}

/** Rules that name interfaces by their old MAC address. */
async function adaptUdevRules(
  draft: GuestDraft,
  { mac, previousMac, rename }: InterfaceInput,
): Promise<boolean> {
  let adapted = false
  await editText(draft, UDEV_RULES, (text) =>
    text.replaceAll(/^(?![ \t]*#).*$/gm, (line) => {
      const isOld = previousMac !== undefined && line.toLowerCase().includes(`"${previousMac}"`)
      if (!isOld && !line.toLowerCase().includes(`"${mac}"`)) return line
      adapted = true
      const moved = isOld ? line.replaceAll(new RegExp(previousMac, 'gi'), mac) : line
      return rename === undefined ? moved : moved.replace(/\bNAME\s*=\s*"[^"]*"/, `NAME="${rename}"`)
    }),
  )
  return adapted
}
