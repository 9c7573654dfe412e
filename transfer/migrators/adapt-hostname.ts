/** A guest's own name: /etc/hostname, where /etc/hosts names it, and cloud-init, which would set it back. */
import { FluidError } from '../../protocol/errors.ts'
import type { GuestDraft } from './guest-draft.ts'
import { editText } from './edit-text.ts'
import { hasSystemd } from './has-systemd.ts'
import { endedText, lineEnd, linesOf } from './guest-text.ts'

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i

/** One or more labels; Linux takes 64 characters. */
export function isHostname(name: string): boolean {
  return name.length <= 64 && name.split('.').every((label) => LABEL.test(label))
}

/** Names the guest `name`. */
export async function hostname(draft: GuestDraft, name: string): Promise<void> {
  const old = await ownName(draft)
  if (!(await editText(draft, '/etc/hostname', (text) => renamed(text, name)))) {
    if (!(await hasSystemd(draft)))
      throw new FluidError('GUEST_UNSUPPORTED', 'The guest has no /etc/hostname, and no systemd to read one')
    await draft.set('/etc/hostname', Buffer.from(`${name}\n`))
  }
  await editText(draft, '/etc/hosts', (text) => renamedHosts(text, old, name))
  if ((await draft.list('/etc/cloud')).length > 0)
    await draft.set(
      '/etc/cloud/cloud.cfg.d/99-fluidcloud-hostname.cfg',
      Buffer.from('preserve_hostname: true\n'),
    )
}

async function ownName(draft: GuestDraft): Promise<string | undefined> {
  const bytes = await draft.read('/etc/hostname')
  return Buffer.from(bytes ?? [])
    .toString()
    .split('\n')
    .map((line) => line.trim())
    .find((line) => line !== '' && !line.startsWith('#'))
}

/** The first line that is no comment holds the name. */
function renamed(text: string, name: string): string {
  const lines = linesOf(text)
  const at = lines.findIndex((line) => line.trim() !== '' && !line.trim().startsWith('#'))
  if (at < 0) return `${endedText(text)}${name}\n`
  const line = lines[at]
  lines[at] = line.replace(line.trim(), () => name)
  return lines.join('')
}

/** Old names and their domains on every line; the short name is added beside localhost if no line has it. */
function renamedHosts(text: string, old: string | undefined, name: string): string {
  const [short] = name.split('.')
  const [oldShort] = (old ?? '').split('.')
  const rename = (word: string): string => {
    if (word === old) return name
    if (word === oldShort) return short
    return oldShort !== '' && word.startsWith(`${oldShort}.`) ? short + word.slice(oldShort.length) : word
  }
  const lines = linesOf(text).map((line) => {
    const [, address, names, comment] = /^(\s*[0-9a-f.:%]+\s)([^#]*)(#.*\n?)?$/is.exec(line) ?? []
    if (address === undefined || oldShort === 'localhost') return line
    return address + names.replaceAll(/\S+/g, rename) + (comment ?? '')
  })
  const known = lines.some((line) => line.replace(/#.*/, '').trim().split(/\s+/).slice(1).includes(short))
  if (known) return lines.join('')
  const loopback = lines.findIndex((line) => /^\s*127\.0\.0\.1\s/.test(line))
  const own = `127.0.1.1\t${[...new Set([name, short])].join(' ')}${lineEnd(text)}`
  if (loopback >= 0) lines[loopback] = endedText(lines[loopback])
  return lines.toSpliced(loopback + 1, 0, own).join('')
}
