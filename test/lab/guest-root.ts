/** The files of the guest's root file system: those beside this module in guest/root/, and programs of this host. */
import { createHash, randomBytes } from 'node:crypto'
import { copyFile, cp, mkdir, open, readdir, readFile, realpath, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hasProgram, run } from '../helpers/programs.ts'

const TREE = new URL('guest/root/', import.meta.url).pathname
/** What the services are made of, besides busybox. */
export const GUEST_PROGRAMS = ['redis-server', 'redis-cli', 'curl']
const FOLDERS = [
  ...'dev proc sys run tmp root boot/grub srv/shop var/log usr/bin usr/sbin'.split(' '),
  ...'etc/network/if-pre-up.d etc/network/if-up.d etc/network/if-down.d etc/network/if-post-down.d'.split(
    ' ',
  ),
  ...'usr/lib lib64 etc/systemd/system/multi-user.target.wants etc/ssh/sshd_config.d'.split(' '),
]
const FILL_FILE_BYTES = 16 << 20

/** Makes the tree in the empty folder `root`; `words` replace {{WORD}} in its files. */
export async function makeGuestRoot(
  root: string,
  busybox: string,
  words: Readonly<Record<string, string>>,
): Promise<void> {
  await cp(TREE, root, { recursive: true })
  for (const folder of FOLDERS) await mkdir(join(root, folder), { recursive: true })
  for (const name of ['bin', 'sbin', 'lib']) await symlink(`usr/${name}`, join(root, name))
  await symlink('/run', join(root, 'var/run'))
  await fillIn(root, words)

  await copyFile(busybox, join(root, 'usr/bin/busybox'))
  const { stdout: applets } = await run(busybox, ['--list'])
  for (const applet of applets.trim().split('\n'))
    if (applet !== 'busybox') await symlink('/bin/busybox', join(root, 'usr/bin', applet))
  await symlink('/bin/busybox', join(root, 'usr/sbin/init'))
  for (const program of GUEST_PROGRAMS) await copyProgram(root, program)

  const wants = join(root, 'etc/systemd/system/multi-user.target.wants')
  for (const [order, unit] of ['redis-server', 'shop-web'].entries())
    await symlink(`/etc/systemd/system/${unit}.service`, join(wants, `${order}-${unit}.service`))
  if (hasProgram('ssh-keygen'))
    await run('ssh-keygen', [
      '-q',
      '-t',
      'ed25519',
      '-N',
      '',
      '-C',
      `root@${words.HOSTNAME}`,
      '-f',
      join(root, 'etc/ssh/ssh_host_ed25519_key'),
    ])
}

/** Adds files until there are `bytes` of them: half does not compress, half does. */
export async function fillGuestRoot(root: string, bytes: number): Promise<void> {
  const folder = join(root, 'usr/share/fill')
  await mkdir(folder, { recursive: true })
  for (let index = 0; index * FILL_FILE_BYTES < bytes; index++) {
    const length = Math.min(FILL_FILE_BYTES, bytes - index * FILL_FILE_BYTES)
    await writeFile(
      join(folder, String(index)),
      index % 2 === 0 ? randomBytes(length) : proseOf(index, length),
    )
  }
}

/** Text that is another one in each file and compresses to about a fifth. */
function proseOf(seed: number, length: number): Buffer {
  const lines: string[] = []
  for (let line = 0, total = 0; total < length; line++) {
    const digest = createHash('sha1').update(`${seed}/${line}`).digest('hex')
    const text = `${line} GET /catalogue/items/${digest.slice(0, 12)} HTTP/1.1 200 from shop-web worker ${line % 8}\n`
    total += text.length
    lines.push(text)
  }
  return Buffer.from(lines.join('')).subarray(0, length)
}

/** Replaces words, and makes executable what begins with #!. */
async function fillIn(root: string, words: Readonly<Record<string, string>>): Promise<void> {
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const text = await readFile(path, 'utf8')
    const filled = text.replaceAll(/\{\{(\w+)\}\}/g, (_, word: string) => words[word] ?? '')
    const file = await open(path, 'w')
    try {
      await file.writeFile(filled)
      await file.chmod(filled.startsWith('#!') ? 0o755 : 0o644)
    } finally {
      await file.close()
    }
  }
}

/** A program of this host and the libraries it needs, under the same names. */
async function copyProgram(root: string, program: string): Promise<void> {
  const { stdout: where } = await run('sh', ['-c', `command -v ${program}`])
  const { stdout: libraries } = await run('ldd', [where.trim()])
  const paths = [...libraries.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path)
  await copyFile(where.trim(), join(root, 'usr/bin', program))
  for (const path of paths) {
    // /lib is usr/lib there.
    const target = join(root, path.replace(/^\/lib\//, '/usr/lib/'))
    await mkdir(dirname(target), { recursive: true })
    await copyFile(await realpath(path), target)
  }
}
