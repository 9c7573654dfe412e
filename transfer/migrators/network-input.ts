/** What adapt-guest is told of a network card. */
import { isIP } from 'node:net'
import { list, object, type Of, oneOf, optional, text } from './input.ts'

/** Lower case, with colons. */
export function isMac(value: string): boolean {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(value)
}

export function isInterfaceName(value: string): boolean {
  return /^[a-zA-Z][\w.-]{0,14}$/.test(value)
}

/** An address with its prefix length, such as 192.0.2.5/24. */
export function isCidr(value: string): boolean {
  const [, address, length] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(value) ?? []
  if (address === undefined) return false
  const family = isIP(address)
  return family !== 0 && Number(length) <= (family === 4 ? 32 : 128)
}

const mac = text(isMac, 'a MAC address in lower case with colons')
const address = text((value) => isIP(value) !== 0, 'an IP address')

export const readInterface = object({
  /** What the guest's configuration calls it; default: the one with `previousMac`, or the only one there. */
  name: optional(text(isInterfaceName, 'a name of an interface')),
  /** What it is to be called at the target; default: as it was. */
  rename: optional(text(isInterfaceName, 'a name of an interface')),
  mac,
  previousMac: optional(mac),
  /** Default: addresses stay as they are configured. */
  method: optional(oneOf('dhcp', 'static')),
  addresses: optional(list(text(isCidr, 'an address with its prefix length'), { least: 1, most: 16 })),
  gateways: optional(list(address, { most: 2 })),
  nameservers: optional(list(address, { most: 8 })),
})

export type InterfaceInput = Of<typeof readInterface>

/** Family of an address, with or without a prefix length. */
export function familyOf(value: string): 4 | 6 {
  return value.includes(':') ? 6 : 4
}
