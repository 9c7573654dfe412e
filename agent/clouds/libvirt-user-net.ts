/**
 * User networks with forwarded ports. libvirt 9 has words for them with passt only; so they are arguments of QEMU, in the one
 * form that is written and read here.
 */
import type { Element } from '@xmldom/xmldom'
import { isIPv4 } from 'node:net'
import { FluidError } from '../../protocol/errors.ts'
import type { Machine, MachineNic, PortForward } from '../../protocol/machine.ts'
import { all, attr, xml } from './libvirt-xml.ts'

export const QEMU_NAMESPACE = 'http://libvirt.org/schemas/domain/qemu/1.0'
/** QEMU's own first, for a card that was given none. */
const FIRST_MAC = '52:54:00:12:34:56'
const NETDEV = /^user,id=([A-Za-z0-9_-]{1,64})((?:,hostfwd=tcp:[0-9.]*:\d{1,5}-[0-9.]*:\d{1,5})*)$/
const FORWARD = /hostfwd=tcp:([0-9.]*):(\d{1,5})-[0-9.]*:(\d{1,5})/g
const DEVICE = /^(virtio-net-pci|e1000),netdev=([A-Za-z0-9_-]{1,64})((?:,[a-z]+=[A-Za-z0-9:.]+)*)$/

/** The cards among the arguments of QEMU; undefined when there are arguments that mean anything else. */
export function commandLineNics(domain: Element): Omit<MachineNic, 'id'>[] | undefined {
  const args = all(domain, 'qemu:commandline', 'qemu:arg').map((arg) => attr(arg, 'value') ?? '')
  if (all(domain, 'qemu:commandline', 'qemu:env').length > 0) return undefined
  const forwards = new Map<string, PortForward[]>()
  const nics: Omit<MachineNic, 'id'>[] = []
  for (let at = 0; at < args.length; at += 2) {
    const [option, value = ''] = args.slice(at, at + 2)
    const [, id, ports] = (option === '-netdev' && NETDEV.exec(value)) || []
    const [, model, netdev, rest] = (option === '-device' && DEVICE.exec(value)) || []
    if (id !== undefined) forwards.set(id, forwardsOf(ports))
    else if (model !== undefined) {
      const mac = /,mac=([0-9A-Fa-f:]{17})(?:,|$)/.exec(rest)?.[1].toLowerCase()
      const ports = forwards.get(netdev)
      if (!ports) return undefined
      nics.push({
        mac: mac ?? nextMac(nics.length),
        model: model === 'e1000' ? 'e1000' : 'virtio',
        network: 'user',
        forwards: ports,
      })
    } else return undefined
  }
  return nics
}

function forwardsOf(text: string): PortForward[] {
  return [...text.matchAll(FORWARD)].map(([, hostAddress, hostPort, guestPort]) => ({
    hostAddress: hostAddress === '' ? '0.0.0.0' : hostAddress,
    hostPort: Number(hostPort),
    guestPort: Number(guestPort),
  }))
}

function nextMac(index: number): string {
  return FIRST_MAC.replace(/..$/, (last) => (Number.parseInt(last, 16) + index).toString(16))
}

/** The element qemu:commandline for these cards; nothing for none. Throws CLOUD_FAILED for what QEMU cannot forward. */
export function commandLineOf(nics: readonly MachineNic[], chipset: Machine['chipset']): string[] {
  if (nics.length === 0) return []
  const args = nics.flatMap(({ id, mac, model, forwards }, index) => {
    const hostfwd = forwards.map(({ hostAddress, hostPort, guestPort }) => {
      if (!isIPv4(hostAddress))
        throw new FluidError('CLOUD_FAILED', `Card ${id} cannot forward ${hostAddress}: QEMU takes IPv4 only`)
      return `,hostfwd=tcp:${hostAddress}:${hostPort}-:${guestPort}`
    })
    const device = model === 'e1000' ? 'e1000' : 'virtio-net-pci'
    // Slots that libvirt, which fills the bus from below, does not come to.
    const slot = (chipset === 'q35' ? 0x10 + index : 0x1e - index).toString(16)
    const netdev = `fluidcloud${index}`
    return [
      '-netdev',
      `user,id=${netdev}${hostfwd.join('')}`,
      '-device',
      `${device},netdev=${netdev},mac=${mac},addr=0x${slot}`,
    ]
  })
  return [xml('qemu:commandline', {}, ...args.map((value) => xml('qemu:arg', { value })))]
}
