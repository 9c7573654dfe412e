/** Looks for references in the configuration of a guest: so many files, so many bytes, and no further. */
import { MAX_GUEST_FINDINGS } from '../../protocol/limits.ts'
import type { GuestFiles } from '../../transfer/guest-files.ts'
import type { ReportedReference } from './guest-report.ts'
import { namesIn, orNothing, textOf } from './guest-lines.ts'
import { findReferences } from './references.ts'

const MAX_FILES = 3000
const MAX_FOLDERS = 1000
const MAX_ENTRIES = 20_000
const MAX_CHARACTERS = 16 * 1024 * 1024
const MAX_DEPTH = 6

/** Where services keep their settings; beyond /etc only files that look like settings. */
const ROOTS = ['/etc', '/opt', '/srv', '/var/www', '/usr/local/etc', '/home', '/root']
const SETTINGS = /^\.env|\.(?:env|conf|cfg|cnf|ini|toml|ya?ml|json|properties|xml)$/
/** Of the system itself: nothing there is a service's own setting. */
const SYSTEM =
  /^\/etc\/(?:alternatives|apparmor|apparmor\.d|apt|bash_completion\.d|ca-certificates|cloud|dpkg|fonts|gss|ImageMagick.*|initramfs-tools|init\.d|java.*|kernel|ld\.so.*|libnl.*|logcheck|lvm|modprobe\.d|openal|pam\.d|perl|profile\.d|python\d.*|rc\w\.d|security|selinux|skel|ssl|ssh\/moduli|sysctl\.d|terminfo|udev|vim|X11|xdg|yum.*|dnf|pki|pkcs11|services|protocols|rpc|mime\.types|magic.*|os-release|.*-release|debian_version|issue.*|hosts|hosts\.\w+|passwd-?|shadow-?|group-?|gshadow-?|subuid-?|subgid-?|fstab|mtab|nsswitch\.conf|ethertypes|networks|network|netplan|systemd\/network|NetworkManager|wpa_supplicant|dhcp.*|resolv\.conf|shells)$/
const OTHER_FOLDERS = new Set([
  'node_modules',
  '.git',
  '.cache',
  '.npm',
  'vendor',
  'site-packages',
  '__pycache__',
])
const NO_TEXT = /\.(?:pem|crt|key|pub|gz|xz|zst|bz2|db|so|jar|png|dpkg-old|dpkg-dist|rpmsave|bak)$|~$/

export async function inspectReferences(
  guest: GuestFiles,
): Promise<{ references: ReportedReference[]; notes: string[] }> {
  const references = new Map<string, ReportedReference>()
  const notes: string[] = []
  const waiting = ROOTS.map((path) => ({ path, depth: 0 }))
  const seen = new Set<string>()
  let [files, folders, entries, characters] = [0, 0, 0, 0]
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    if (
      ++folders > MAX_FOLDERS ||
      entries >= MAX_ENTRIES ||
      files >= MAX_FILES ||
      characters >= MAX_CHARACTERS
    ) {
      notes.push(`Not all of the guest's settings were looked through: they are many (${files} files were)`)
      break
    }
    for (const name of await namesIn(guest, next.path)) {
      const path = `${next.path}/${name}`
      if (++entries > MAX_ENTRIES) break
      if (SYSTEM.test(path) || NO_TEXT.test(name)) continue
      const entry = await orNothing(guest.entry(path))
      // Links lead to what is found elsewhere, or out of what is settings.
      if (entry?.kind === 'directory') {
        if (next.depth < MAX_DEPTH && !OTHER_FOLDERS.has(name)) waiting.push({ path, depth: next.depth + 1 })
        continue
      }
      if (entry?.kind !== 'file' || (!path.startsWith('/etc/') && !SETTINGS.test(name)) || files >= MAX_FILES)
        continue
      files++
      const text = await textOf(guest, path)
      if (text === undefined || seen.has(path)) continue
      seen.add(path)
      characters += text.length
      for (const reference of findReferences(path, text)) {
        const key = `${path}\0${reference.key}\0${reference.value}`
        if (references.size < MAX_GUEST_FINDINGS) references.set(key, reference)
      }
    }
  }
  if (references.size === MAX_GUEST_FINDINGS) notes.push('There are more references than are told')
  return { references: [...references.values()], notes }
}
