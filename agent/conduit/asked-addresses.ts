/** Whom this agent may ask because a peer named them: in health checks, and to prove that an object store is reached. */
import { BlockList, isIP } from 'node:net'
import { interfaceAddresses } from '../mesh/addresses.ts'

/** Nobody's, whole groups, and where clouds tell their machines credentials. IPv6 that holds an IPv4 address counts as that. */
const NEVER = new BlockList()
NEVER.addSubnet('0.0.0.0', 8, 'ipv4')
NEVER.addSubnet('169.254.0.0', 16, 'ipv4')
NEVER.addAddress('100.100.100.200', 'ipv4')
NEVER.addSubnet('224.0.0.0', 3, 'ipv4')
NEVER.addSubnet('::', 96, 'ipv6')
NEVER.addSubnet('fe80::', 10, 'ipv6')
NEVER.addSubnet('fd00:ec2::', 32, 'ipv6')
NEVER.addAddress('fd20:ce::254', 'ipv6')
NEVER.addSubnet('ff00::', 8, 'ipv6')

/** True for an address that no peer may have asked, wherever it leads. */
export function isNeverAsked(address: string): boolean {
  return isOn(NEVER, address)
}

/** True for an address at which this host reaches its own services. */
export function isOfThisHost(address: string): boolean {
  const own = new BlockList()
  own.addSubnet('127.0.0.0', 8, 'ipv4')
  own.addAddress('::1', 'ipv6')
  for (const { address: each, family } of interfaceAddresses())
    own.addAddress(each, family === 'IPv6' ? 'ipv6' : 'ipv4')
  return isOn(own, address)
}

/** What a name leads to may carry a zone, which says nothing here. */
function isOn(list: BlockList, address: string): boolean {
  const [plain] = address.split('%')
  return list.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4')
}
