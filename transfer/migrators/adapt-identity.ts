/** What makes a guest itself: machine-id, SSH host keys, and what cloud-init takes it for. */
import { unsupported } from './config-format.ts'
import type { GuestDraft } from './guest-draft.ts'
import { hasSystemd } from './has-systemd.ts'

const HOST_KEY = /^ssh_host_[a-z0-9]+_key(?:\.pub|-cert\.pub)?$/
const KEYGEN = '/usr/bin/ssh-keygen'
const UNIT = 'fluidcloud-host-keys.service'

/** Emptied, so that systemd makes another at the next start; that of dbus with it. */
export async function renewMachineId(draft: GuestDraft): Promise<void> {
  if (!(await draft.entry('/etc/machine-id'))) throw unsupported('The guest has no /etc/machine-id')
  await draft.set('/etc/machine-id', new Uint8Array())
  const dbus = await draft.entry('/var/lib/dbus/machine-id')
  // Usually a link to the other.
  if (dbus?.kind === 'file') await draft.set('/var/lib/dbus/machine-id', undefined)
}

/** Removed, so that the guest makes new ones at its next start. */
export async function renewHostKeys(draft: GuestDraft): Promise<void> {
  const keys = (await draft.list('/etc/ssh')).filter((name) => HOST_KEY.test(name))
  if (keys.length === 0) throw unsupported('The guest has no SSH host keys')
  await makeKeys(draft)
  for (const name of keys)
    await draft.set(`/etc/ssh/${name}`, undefined, {
      secret: !name.endsWith('.pub'),
      note: 'removed: the guest makes a new one',
    })
}

/** Sees to it that something in the guest makes keys before sshd starts: Debian's own units do not. */
async function makeKeys(draft: GuestDraft): Promise<void> {
  if ((await hasSystemd(draft)) && (await draft.entry(KEYGEN))) {
    await draft.set(
      `/etc/systemd/system/${UNIT}`,
      Buffer.from(
        `# Made by FluidCloud: this guest's host keys were removed when it moved.\n[Unit]\nDescription=New SSH host keys\nBefore=ssh.service sshd.service ssh.socket sshd.socket\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=${KEYGEN} -A\n`,
      ),
    )
    // Wanted by a drop-in: a link would be needed to enable it.
    await draft.set(
      '/etc/systemd/system/multi-user.target.d/fluidcloud-host-keys.conf',
      Buffer.from(`[Unit]\nWants=${UNIT}\n`),
    )
    return
  }
  for (const path of ['/etc/init.d/sshd', '/etc/init.d/ssh', '/etc/rc.d/init.d/sshd']) {
    const script = await draft.read(path)
    if (script && Buffer.from(script).includes('ssh-keygen')) return
  }
  throw unsupported('Nothing in the guest would make new SSH host keys: nobody could log in')
}

export interface CloudInitInput {
  /** `disabled`: cloud-init leaves the network as it is configured. */
  readonly network?: 'disabled'
  /** A seed in the guest, for a cloud that has no metadata service. */
  readonly seed?: {
    /** Another than before makes cloud-init set the guest up anew. Default: as it was. */
    readonly instanceId?: string
    readonly hostname?: string
  }
}

/** Throws GUEST_UNSUPPORTED for a guest without cloud-init. */
export async function adaptCloudInit(draft: GuestDraft, { network, seed }: CloudInitInput): Promise<void> {
  if (!(await hasCloudInit(draft))) throw unsupported('The guest has no cloud-init')
  if (network === 'disabled') await disableCloudNetwork(draft)
  if (!seed) return
  const known = await draft.read('/var/lib/cloud/data/instance-id')
  const instanceId = seed.instanceId ?? (known && Buffer.from(known).toString().trim())
  if (instanceId === undefined || !isInstanceId(instanceId))
    throw unsupported('cloud-init has not run in this guest: name an instanceId for its seed')
  const lines = [
    `instance-id: ${instanceId}`,
    ...(seed.hostname === undefined ? [] : [`local-hostname: ${seed.hostname}`]),
  ]
  const files = {
    '/var/lib/cloud/seed/nocloud/meta-data': `${lines.join('\n')}\n`,
    '/var/lib/cloud/seed/nocloud/user-data': '#cloud-config\n{}\n',
    '/etc/cloud/cloud.cfg.d/99-fluidcloud-seed.cfg': 'datasource_list: [NoCloud, None]\n',
  }
  for (const [path, content] of Object.entries(files)) await draft.set(path, Buffer.from(content))
}

export function isInstanceId(value: string): boolean {
  return /^[A-Za-z0-9][\w.-]{0,127}$/.test(value)
}

export async function hasCloudInit(draft: GuestDraft): Promise<boolean> {
  return (await draft.list('/etc/cloud')).length > 0
}

/** cloud-init would else write the network of its old cloud, or of none, over ours. */
export async function disableCloudNetwork(draft: GuestDraft): Promise<void> {
  await draft.set(
    '/etc/cloud/cloud.cfg.d/99-fluidcloud-network.cfg',
    Buffer.from('network: {config: disabled}\n'),
  )
}
