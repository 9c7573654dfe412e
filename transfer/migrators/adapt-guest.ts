/**
 * Makes a Linux guest fit its new home: name, network, disks, identity. Each part only where it is asked for; what the guest
 * has not is refused. What it is given is in migrators.md.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { EditMigrator } from '../migrator.ts'
import { draftOver } from './guest-draft.ts'
import { adaptFstab, isDevicePath } from './adapt-fstab.ts'
import { hostname, isHostname } from './adapt-hostname.ts'
import {
  adaptCloudInit,
  disableCloudNetwork,
  hasCloudInit,
  isInstanceId,
  renewHostKeys,
  renewMachineId,
} from './adapt-identity.ts'
import { adaptNetwork } from './adapt-network.ts'
import { list, object, type Of, oneOf, optional, record, text, wanted } from './input.ts'
import { readInterface } from './network-input.ts'

const line = text()
const uuid = text((value) => /^[0-9A-Fa-f-]{4,64}$/.test(value), 'a UUID')

const readInput = object({
  hostname: optional(text(isHostname, 'a host name of 1 to 64 letters, digits, - and .')),
  network: optional(list(readInterface, { most: 32 })),
  fstab: optional(
    object({
      uuids: optional(record(uuid, isDevicePath, 'a path of a device')),
      stays: optional(list(line)),
    }),
  ),
  cloudInit: optional(
    object({
      network: optional(oneOf('disabled')),
      seed: optional(
        object({
          instanceId: optional(text(isInstanceId, 'an instance ID of letters, digits, -, _ and .')),
          hostname: optional(text(isHostname, 'a host name')),
        }),
      ),
    }),
  ),
  machineId: optional(oneOf('keep', 'renew')),
  sshHostKeys: optional(oneOf('keep', 'renew')),
})

function read(input: unknown): Of<typeof readInput> {
  const asked = readInput(input, 'adapt-guest')
  for (const [i, { method, addresses, gateways, nameservers }] of (asked.network ?? []).entries()) {
    const at = `adapt-guest.network[${i}]`
    if ((method === 'static') !== (addresses !== undefined))
      throw wanted(`${at}.addresses`, 'given with method static, and only then')
    if (gateways !== undefined && method !== 'static')
      throw wanted(`${at}.gateways`, 'given with method static')
    if (nameservers !== undefined && method === undefined)
      throw wanted(`${at}.nameservers`, 'given with a method')
  }
  return asked
}

export const adaptGuest: EditMigrator = {
  name: 'adapt-guest',
  version: '1.0.0',
  accepts: ['guest/linux'],
  produces: ['guest/linux'],

  check(input) {
    read(input)
  },

  async changes(guest, input, { signal, machine }) {
    const asked = read(input)
    const draft = draftOver(guest)
    if ((await draft.list('/etc')).length === 0)
      throw new FluidError('GUEST_UNSUPPORTED', 'The guest has no /etc: its root is not a Linux file system')
    signal.throwIfAborted()
    if (asked.hostname !== undefined) await hostname(draft, asked.hostname)
    if (asked.network !== undefined) {
      await adaptNetwork(draft, asked.network, machine.macs)
      if (asked.network.some(({ method }) => method !== undefined) && (await hasCloudInit(draft)))
        await disableCloudNetwork(draft)
    }
    if (asked.fstab !== undefined) await adaptFstab(draft, asked.fstab)
    if (asked.cloudInit !== undefined) await adaptCloudInit(draft, asked.cloudInit)
    if (asked.machineId === 'renew') await renewMachineId(draft)
    if (asked.sshHostKeys === 'renew') await renewHostKeys(draft)
    return draft.changes()
  },
}
