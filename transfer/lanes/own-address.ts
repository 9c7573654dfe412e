/** Whether an address is this machine's own: who is reached there shares its cores. */
import { BlockList, isIP } from 'node:net'
import { networkInterfaces } from 'node:os'

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')
const MAPPED = '::ffff:'

/** Of a loopback or another interface here; false for a name, which is not looked up. */
export function isOwnAddress(host: string): boolean {
  const address = host.toLowerCase().startsWith(MAPPED) ? host.slice(MAPPED.length) : host
  const version = isIP(address)
  if (version === 0) return false
  if (LOOPBACK.check(address, version === 4 ? 'ipv4' : 'ipv6')) return true
  return Object.values(networkInterfaces()).some((all) => all?.some((own) => own.address === address))
}
