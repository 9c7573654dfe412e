/**
 * Makes a Linux guest fit its new home: name, network, disks, identity. Each part only where it is asked for; what the guest
 * has not is refused. What it is given is in migrators.md.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { EditMigrator } from '../migrator.ts'
import { draftOver } from './guest-draft.ts'
import { hostname, isHostname } from './adapt-hostname.ts'
import { object, optional, text } from './input.ts'

const readInput = object({
  hostname: optional(text(isHostname, 'a host name of 1 to 64 letters, digits, - and .')),
})

export const adaptGuest: EditMigrator = {
  name: 'adapt-guest',
  version: '1.0.0',
  accepts: ['guest/linux'],
  produces: ['guest/linux'],

  check(input) {
    readInput(input, 'adapt-guest')
  },

  async changes(guest, input, { signal }) {
    const asked = readInput(input, 'adapt-guest')
    const draft = draftOver(guest)
    if ((await draft.list('/etc')).length === 0)
      throw new FluidError('GUEST_UNSUPPORTED', 'The guest has no /etc: its root is not a Linux file system')
    signal.throwIfAborted()
    if (asked.hostname !== undefined) await hostname(draft, asked.hostname)
    return draft.changes()
  },
}
