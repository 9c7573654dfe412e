/**
 * A private libvirt for tests: a daemon in mount and process namespaces of its own, whose folders for configuration, state
 * and sockets are the test's. It and its machines end with the process that started it, however that ends; the
 * system's own daemon is never spoken to. Emulation only (TCG). Needs root.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, cp, mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { hasProgram, run } from '../helpers/programs.ts'
import { type Owner, tempDir } from '../helpers/temp-dir.ts'

export interface LibvirtLab {
  readonly uri: string
  /** For images, and for what snapshots make. */
  readonly images: string
  /** Output of one command. */
  virsh(...args: string[]): Promise<string>
  /** Ends the QEMUs of all its machines by SIGKILL, as a lack of memory would. */
  killMachines(): Promise<void>
}

/** Why there can be no private libvirt here, or undefined. */
export function noLibvirtLab(): string | undefined {
  for (const program of ['libvirtd', 'virsh', 'qemu-system-x86_64', 'qemu-img', 'unshare', 'setpriv'])
    if (!hasProgram(program)) return `needs ${program}`
  if (process.getuid?.() !== 0) return 'needs root'
  try {
    execFileSync('unshare', ['--mount', '--pid', '--fork', '--mount-proc', 'true'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'needs namespaces'
  }
}

/** Folders of the daemon's own, and where it finds them. */
const FOLDERS = {
  etc: '/etc/libvirt',
  run: '/run/libvirt',
  lib: '/var/lib/libvirt',
  log: '/var/log/libvirt',
  cache: '/var/cache/libvirt',
}
const START_TIMEOUT_MS = 60_000
/** Of Debian's user and group libvirt-qemu. */
export const LIBVIRT_QEMU_ID = 64_055

/** What QEMU can is asked of it once, and copied: it takes a second. */
let probed: string | undefined

/** Starts one; it ends with the test. `user` is whom QEMU runs as. */
export async function openLibvirtLab(
  t: Owner,
  { user = 'root' }: { user?: 'root' | 'libvirt-qemu' } = {},
): Promise<LibvirtLab> {
  const folder = await tempDir(t)
  for (const name of [...Object.keys(FOLDERS), 'images']) await mkdir(join(folder, name))
  if (probed !== undefined)
    await cp(probed, join(folder, 'cache'), { recursive: true, preserveTimestamps: true })
  await configure(folder, user)
  if (user === 'libvirt-qemu') {
    // As an owner shares the folder of images with QEMU.
    await chmod(folder, 0o711)
    await chown(join(folder, 'images'), 0, LIBVIRT_QEMU_ID)
    await chmod(join(folder, 'images'), 0o2770)
  }
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
  const start = ['sh', join(folder, 'start'), folder]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...namespaces, ...start], {
    stdio: 'ignore',
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const uri = `qemu+unix:///system?socket=${join(folder, 'run/libvirt-sock')}`
  const virsh = async (...args: string[]): Promise<string> =>
    (await run('virsh', ['--quiet', '--connect', uri, ...args], { env: { ...process.env, LC_ALL: 'C' } }))
      .stdout
  const end = performance.now() + START_TIMEOUT_MS
  while (!(await virsh('version').catch(() => ''))) {
    if (child.exitCode !== null || performance.now() > end)
      throw new Error(`libvirtd did not start: ${await readFile(join(folder, 'log/stderr'), 'utf8')}`)
    await delay(20)
  }
  if (probed === undefined) {
    probed = `${folder}.probed`
    await cp(join(folder, 'cache'), probed, { recursive: true, preserveTimestamps: true })
    process.once('exit', () => execFileSync('rm', ['-rf', `${folder}.probed`]))
  }
  return { uri, images: join(folder, 'images'), virsh, killMachines: async () => killQemus(child.pid!) }
}

/** `outside` is the process that made the namespaces of the daemon. */
async function killQemus(outside: number): Promise<void> {
  const inside = await readlink(`/proc/${outside}/ns/pid_for_children`)
  for (const pid of await readdir('/proc')) {
    const space = await readlink(`/proc/${pid}/ns/pid`).catch(() => '')
    const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    if (space === inside && command.startsWith('qemu-system')) process.kill(Number(pid), 'SIGKILL')
  }
}

async function configure(folder: string, user: string): Promise<void> {
  const etc = join(folder, 'etc')
  await writeFile(
    join(etc, 'libvirtd.conf'),
    'listen_tls = 0\nlisten_tcp = 0\nauth_unix_rw = "none"\nlog_outputs = "3:stderr"\n',
  )
  await writeFile(
    join(etc, 'qemu.conf'),
    `user = "${user}"
group = "${user}"
dynamic_ownership = ${user === 'root' ? 0 : 1}
remember_owner = ${user === 'root' ? 0 : 1}
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
`,
  )
  // Debian's libvirt looks up its user even when it is told another.
  for (const [file, line] of [
    ['passwd', `libvirt-qemu:x:${LIBVIRT_QEMU_ID}:${LIBVIRT_QEMU_ID}::/:/bin/false`],
    ['group', `libvirt-qemu:x:${LIBVIRT_QEMU_ID}:`],
  ]) {
    const known = await readFile(`/etc/${file}`, 'utf8')
    await writeFile(join(etc, file), /^libvirt-qemu:/m.test(known) ? known : `${known}${line}\n`)
  }
  const binds = Object.entries(FOLDERS).map(
    ([name, path]) => `mkdir -p ${path}; mount --bind "$1/${name}" ${path}`,
  )
  // The shell stays as the first process of its namespace, to bury QEMUs whose parent is gone.
  await writeFile(
    join(folder, 'start'),
    `set -e
${binds.join('\n')}
mount --bind /etc/libvirt/passwd /etc/passwd
mount --bind /etc/libvirt/group /etc/group
mkdir -p /run/libvirt/qemu
# What QEMU can is asked anew each time, for seconds, while there is a KVM that its user may not use.
if [ -c /dev/kvm ]; then
  { cp -a /dev/kvm "$1/kvm" && chmod 666 "$1/kvm" && mount --bind "$1/kvm" /dev/kvm; } || true
fi
libvirtd -f /etc/libvirt/libvirtd.conf -p "$1/pid" 2>"$1/log/stderr" &
wait $!
`,
  )
}
