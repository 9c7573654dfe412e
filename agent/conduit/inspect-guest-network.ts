/** How a guest sets up its network: which of the four stacks it has, and what their files fix. */
import { MAX_GUEST_FINDINGS } from '../../protocol/limits.ts'
import type { GuestFiles } from '../../transfer/guest-files.ts'
import { namesIn, textOf } from './guest-lines.ts'
import type { NetworkStack, ReportedNetwork } from './guest-report.ts'

/** Where each stack is configured: files, and folders with the ending their files have. */
const PLACES: readonly { stack: NetworkStack; file?: string; folder?: string; ending?: string }[] = [
  { stack: 'netplan', folder: '/etc/netplan', ending: '.yaml' },
  { stack: 'ifupdown', file: '/etc/network/interfaces' },
  { stack: 'ifupdown', folder: '/etc/network/interfaces.d', ending: '' },
  { stack: 'systemd-networkd', folder: '/etc/systemd/network', ending: '.network' },
  { stack: 'systemd-networkd', folder: '/etc/systemd/network', ending: '.link' },
  { stack: 'networkmanager', folder: '/etc/NetworkManager/system-connections', ending: '.nmconnection' },
]
const MAX_FILES = 256
const MAX_CHARACTERS = 1024 * 1024

/** Lines that fix an address, as each stack writes them. */
const ADDRESSES = [
  /^[ \t]*address\s+([0-9a-fA-F.:]+(?:\/\d+)?)\s*$/gm,
  /^[ \t]*Address\s*=\s*([0-9a-fA-F.:]+(?:\/\d+)?)\s*$/gm,
  /^[ \t]*address\d*\s*=\s*([0-9a-fA-F.:]+(?:\/\d+)?)/gm,
  /^[ \t]*-\s*["']?([0-9a-fA-F.:]+\/\d+)["']?:?\s*$/gm,
  /addresses:\s*\[\s*["']?([0-9a-fA-F.:]+\/\d+)/gm,
]
const INTERFACES = [
  /^[ \t]*iface\s+(\S+)/gm,
  /^[ \t]*Name\s*=\s*(\S+)/gm,
  /^[ \t]*interface-name\s*=\s*(\S+)/gm,
  /^[ \t]*set-name:\s*["']?([\w.-]+)/gm,
  /^[ \t]+((?!ethernets)(?:eth|en|wl)\w*):\s*$/gm,
]
const MACS = /\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b/g

export async function inspectNetwork(guest: GuestFiles): Promise<ReportedNetwork> {
  const stacks = new Set<NetworkStack>()
  const files: string[] = []
  const texts: string[] = []
  let characters = 0
  for (const { stack, file, folder, ending = '' } of PLACES) {
    const paths = folder
      ? (await namesIn(guest, folder))
          .filter((name) => name.endsWith(ending))
          .map((name) => `${folder}/${name}`)
      : [file as string]
    for (const path of paths.slice(0, MAX_FILES)) {
      const text = await textOf(guest, path)
      if (text === undefined || files.length === MAX_FILES || characters + text.length > MAX_CHARACTERS)
        continue
      characters += text.length
      stacks.add(stack)
      files.push(path)
      texts.push(text)
    }
  }
  const all = texts.join('\n')
  const found = (patterns: readonly RegExp[]) =>
    [
      ...new Set(
        patterns.flatMap((pattern) => Array.from(all.matchAll(pattern), ([text, name]) => name ?? text)),
      ),
    ]
      .map((word) => word.slice(0, 64))
      .slice(0, MAX_GUEST_FINDINGS)
  return {
    stacks: [...stacks],
    files,
    addresses: found(ADDRESSES),
    interfaces: found(INTERFACES).filter((name) => name !== 'lo'),
    macs: found([MACS]).map((mac) => mac.toLowerCase()),
  }
}
