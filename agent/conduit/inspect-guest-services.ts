/** What starts with a guest: units that are enabled, init scripts, and the lines of BusyBox. */
import { MAX_GUEST_FINDINGS } from '../../protocol/limits.ts'
import type { GuestFiles } from '../../transfer/guest-files.ts'
import { namesIn, orNothing, textOf } from './guest-lines.ts'

export interface FoundService {
  /** nginx.service, or the name of an init script. */
  readonly name: string
  /** The unit file, the script, or lines that start it. */
  readonly text: string
  readonly path: string
}

const UNITS = '/etc/systemd/system'
const WANTS = /\.(?:wants|requires)$/
const UNIT = /^[\w@:.\\-]{1,255}\.(?:service|socket|timer|mount|path)$/
const VENDOR = ['/etc/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system']
/** Units of the vendor's that no owner asks about. */
const PLUMBING =
  /^(?:getty@|serial-getty@|systemd-|e2scrub|fstrim|apt-|dpkg-|man-db|remote-fs|logrotate|motd)/

export async function inspectServices(guest: GuestFiles): Promise<FoundService[]> {
  const found = new Map<string, FoundService>()
  const add = (service: FoundService) => {
    if (found.size < MAX_GUEST_FINDINGS && !found.has(service.name)) found.set(service.name, service)
  }
  for (const folder of (await namesIn(guest, UNITS)).filter((name) => WANTS.test(name)).slice(0, 128)) {
    for (const link of await namesIn(guest, `${UNITS}/${folder}`)) {
      if (!UNIT.test(link) || found.has(link)) continue
      const name = await unitBehind(guest, link, `${UNITS}/${folder}/${link}`)
      if (PLUMBING.test(name) || found.has(name)) continue
      add({ name, ...(await unitFile(guest, name, `${UNITS}/${folder}/${link}`)) })
    }
  }
  for (const script of await initScripts(guest)) {
    const plain = script.name
    if (!found.has(`${plain}.service`)) add(script)
  }
  return [...found.values()]
}

/** The unit that a link leads to; of an instance, the link has the name. */
async function unitBehind(guest: GuestFiles, link: string, path: string): Promise<string> {
  const linksTo = (await orNothing(guest.entry(path)))?.linksTo
  const unit = linksTo?.slice(linksTo.lastIndexOf('/') + 1)
  return unit !== undefined && UNIT.test(unit) && !unit.includes('@.') ? unit : link
}

/** The unit itself, for an instance its template, with what drop-ins add. */
async function unitFile(
  guest: GuestFiles,
  name: string,
  link: string,
): Promise<{ path: string; text: string }> {
  const template = name.replace(/@[^.]*\./, '@.')
  for (const path of [
    ...VENDOR.map((folder) => `${folder}/${name}`),
    ...VENDOR.map((folder) => `${folder}/${template}`),
    link,
  ]) {
    const text = await textOf(guest, path)
    if (text === undefined) continue
    const texts = [text]
    for (const extra of (await namesIn(guest, `${UNITS}/${name}.d`))
      .filter((file) => file.endsWith('.conf'))
      .slice(0, 32))
      texts.push((await textOf(guest, `${UNITS}/${name}.d/${extra}`)) ?? '')
    return { path, text: texts.join('\n') }
  }
  return { path: link, text: '' }
}

/** SysV's S20name of a runlevel that serves, OpenRC's default, and what BusyBox's init runs. */
async function initScripts(guest: GuestFiles): Promise<FoundService[]> {
  const found: FoundService[] = []
  const add = async (name: string, path: string) =>
    found.push({ name, path, text: (await textOf(guest, path)) ?? '' })
  for (const level of ['/etc/rc2.d', '/etc/rc3.d', '/etc/rc5.d', '/etc/init.d']) {
    for (const file of await namesIn(guest, level)) {
      const [, name] = /^S\d\d([\w.-]+)$/.exec(file) ?? []
      if (name && !found.some((other) => other.name === name)) await add(name, `${level}/${file}`)
    }
  }
  for (const name of await namesIn(guest, '/etc/runlevels/default')) await add(name, `/etc/init.d/${name}`)
  for (const path of [
    '/etc/inittab',
    '/etc/init.d/rcS',
    '/etc/rc.local',
    '/etc/local.d/local.start',
    '/init',
  ]) {
    const text = await textOf(guest, path)
    if (text !== undefined) found.push({ name: path.slice(path.lastIndexOf('/') + 1), path, text })
  }
  return found
}
