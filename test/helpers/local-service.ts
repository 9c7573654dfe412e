/**
 * A service of the `local` cloud with its state on a disk: numbered records over HTTP, acknowledged when they are durable.
 * It notes in a shared folder that it runs, and whether another does at the same time, which must never be.
 */
import { chmod, mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MiB, noise, writeVolume } from './volume.ts'
import { isPortFree } from './free-port.ts'

/** Where records lie in its disk, a line each. */
const RECORDS_OFFSET = 1 * MiB
export const DISK_BYTES = 24 * MiB
const ANSWER_MS = 1_000
const BEAT_MS = 20
/** No machine is stopped here and started there within it, nor held for less. */
const CLOSE_MS = 300

/** Arguments: a port, and the shared folder. */
const PROGRAM = `#!${process.execPath}
const { openSync, writeSync, readSync, fsyncSync, readdirSync, readFileSync, writeFileSync, existsSync } = require('node:fs')
const [port, shared] = process.argv.slice(2)
// Whoever runs counts. One that is held, or being killed, does not: so a count that moves between two looks of ours that
// are close together was made while we ran.
const own = 'beat-' + process.pid
const seen = new Map()
let beats = 0
let lookedAt = 0
const look = () => {
  const before = lookedAt
  lookedAt = performance.now()
  writeFileSync(shared + '/' + own, String(++beats))
  for (const name of readdirSync(shared)) {
    if (!name.startsWith('beat-') || name === own) continue
    const count = readFileSync(shared + '/' + name, 'utf8')
    if (count === '') continue
    const isClose = performance.now() - before < ${CLOSE_MS}
    if (isClose && seen.has(name) && seen.get(name) !== count) writeFileSync(shared + '/both', name)
    seen.set(name, count)
  }
}
look()
setInterval(look, ${BEAT_MS})
const disk = openSync(process.env.FLUIDCLOUD_DISK_VDA, 'r+')
const at = ${RECORDS_OFFSET}
const room = Buffer.alloc(1024 * 1024)
readSync(disk, room, 0, room.length, at)
let end = room.indexOf(0)
require('node:http').createServer((request, answer) => {
  if (existsSync(shared + '/sick-' + process.env.FLUIDCLOUD_MACHINE)) return answer.writeHead(500).end('sick')
  if (request.method === 'POST') {
    const line = Buffer.from(request.url.slice(1) + '\\n')
    writeSync(disk, line, 0, line.length, at + end)
    fsyncSync(disk)
    end += line.length
    return answer.end('kept')
  }
  const all = Buffer.alloc(end)
  readSync(disk, all, 0, end, at)
  answer.end(all)
}).listen(Number(port), process.env.FLUIDCLOUD_MACHINE === 'web' ? '127.0.0.1' : '127.0.0.2')
`

export interface LocalService {
  /** service.toml for it; by another name at the target. */
  readonly toml: string
  /** Where it answers here, and there: two hosts, so that one that is held there is in nobody's way. */
  readonly urls: readonly [here: string, there: string]
  /** Below a cloud's folder of machines. */
  readonly disk: string
  /** Appends a record, and resolves when it is acknowledged. */
  record(number: number): Promise<void>
  records(): Promise<number[]>
  /** Has it fail its health check wherever it is called so. */
  sicken(name: string): Promise<void>
  /** True when two of it ever ran at the same time. */
  ranTwice(): Promise<boolean>
}

/** The [clouds] of an agent that lets such services run. */
export function localClouds(machines: string, program: string): string {
  return `\n[clouds.local]\nmachines = ${JSON.stringify(machines)}\nprograms = [${JSON.stringify(program)}]\n`
}

/** The program itself, in `folder`. */
export async function writeServiceProgram(folder: string): Promise<string> {
  const program = join(folder, 'records')
  await writeFile(program, PROGRAM)
  await chmod(program, 0o755)
  return program
}

/** A description of it, with a disk that holds data, in a cloud's folder; it does not run yet. */
export async function describeService(
  machines: string,
  {
    program,
    shared,
    health = '1m',
    more = '',
  }: { program: string; shared: string; health?: string; more?: string },
): Promise<LocalService> {
  await mkdir(machines, { recursive: true })
  await mkdir(shared, { recursive: true })
  const port = await servicePort()
  const disk = join(machines, 'web.raw')
  await writeVolume(disk, DISK_BYTES, [{ offset: 8 * MiB, bytes: noise(12 * MiB, 7) }])
  await writeFile(
    join(machines, 'web.toml'),
    `vcpus = 1
memory = "64MiB"
firmware = "bios"
chipset = "q35"
extra = { start = [${JSON.stringify(program)}, "${port}", ${JSON.stringify(shared)}] }
[[disks]]
id = "vda"
path = ${JSON.stringify(disk)}
format = "raw"
boot = true
bus = "virtio"
`,
  )
  const urls = [`http://127.0.0.1:${port}`, `http://127.0.0.2:${port}`] as const
  const ask = (path: string, method: string) =>
    Promise.any(
      urls.map(async (url) => {
        // A process that is held takes connections, and says nothing.
        const answer = await fetch(url + path, { method, signal: AbortSignal.timeout(ANSWER_MS) })
        if (!answer.ok) throw new Error(`${url}${path}: ${answer.status}`)
        return await answer.text()
      }),
    )
  return {
    toml: `${more}
cutover = { gate = "${health}", stop_grace = "5s" }
[[machine]]
name = "web"
[machine.target]
name = "web-there"
[[health]]
http = "${urls[1]}/"
status = 200
`,
    urls,
    disk,
    async record(number) {
      await ask(`/${number}`, 'POST')
    },
    async records() {
      return (await ask('/', 'GET')).split('\n').filter(Boolean).map(Number)
    },
    sicken: (name) => writeFile(join(shared, `sick-${name}`), ''),
    ranTwice: () =>
      stat(join(shared, 'both')).then(
        () => true,
        () => false,
      ),
  }
}

/** Everything that lies in a folder, but what is hidden. */
export async function visible(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true }).catch(() => [] as string[])
  return names.filter((name) => !name.split('/').some((part) => part.startsWith('.'))).toSorted()
}

/** Below those that the system gives away by itself, and beside those of agents: a service finds its port free again. */
async function servicePort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 8_000)
    if (await isPortFree(port)) return port
  }
}
