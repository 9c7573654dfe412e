/** What system a guest is: os-release(5), hostname, machine-id, cloud-init, keys of its SSH server. */
import type { GuestFiles } from '../../transfer/guest-files.ts'
import { firstLineOf, isThere, namesIn, textOf } from './guest-lines.ts'
import type { GuestReport } from './guest-report.ts'

type SystemFacts = Pick<GuestReport, 'os' | 'hostname' | 'machineId' | 'cloudInit' | 'sshHostKeys'>

/** A word of a guest's that is shown has at most this many characters. */
const MAX_WORD = 255

export async function inspectSystem(guest: GuestFiles): Promise<SystemFacts> {
  const release = (await textOf(guest, '/etc/os-release')) ?? (await textOf(guest, '/usr/lib/os-release'))
  const hostname = await firstLineOf(guest, '/etc/hostname')
  const machineId = await firstLineOf(guest, '/etc/machine-id')
  const keys = await namesIn(guest, '/etc/ssh')
  return {
    ...(release !== undefined && { os: osOf(release) }),
    ...(hostname !== undefined && { hostname: hostname.slice(0, MAX_WORD) }),
    ...(machineId !== undefined && /^[0-9a-f]{32}$/.test(machineId) && { machineId }),
    cloudInit:
      (await isThere(guest, '/etc/cloud/cloud.cfg')) &&
      !(await isThere(guest, '/etc/cloud/cloud-init.disabled')),
    sshHostKeys: keys.flatMap((name) => /^ssh_host_(\w{1,20})_key$/.exec(name)?.[1] ?? []),
  }
}

function osOf(text: string): NonNullable<SystemFacts['os']> {
  const values = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, key, value] = /^\s*([A-Z_]+)=(.*)$/.exec(line) ?? []
    if (key)
      values.set(
        key,
        value
          .trim()
          .replace(/^(["'])(.*)\1$/, '$2')
          .slice(0, MAX_WORD),
      )
  }
  const id = values.get('ID') ?? 'linux'
  const version = values.get('VERSION_ID')
  return { id, name: values.get('PRETTY_NAME') ?? values.get('NAME') ?? id, ...(version && { version }) }
}
