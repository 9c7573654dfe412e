/**
 * Checks of this machine: can an agent live here, and live well. A check never throws: what it cannot find out is a
 * remark. The caller says whether an agent runs; what only the agent knows is asked of it.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, readFile, rm, stat, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'
import { FluidError } from '../protocol/errors.ts'
import { seekData, seekHole } from '../transfer/linux.ts'
import type { AgentApi } from './api.ts'
import type { CheckReport, StatusReport } from './reports/agent-reports.ts'
import { loadConfig, type Config } from './config.ts'
import { openHome, type Home } from './home.ts'
import { arePackagesPacked } from './quick-start.js'
import { formatBytes } from './units.ts'

const MIN_NODE = 24
const LOW_SPACE_BYTES = 10 * 1024 ** 3
const NO_SPACE_BYTES = 256 * 1024 ** 2
/** Each lane, job and client holds descriptors; systemd's default soft limit is 1024. */
const LOW_DESCRIPTORS = 1024
/** Below it one lane cannot fill 1 Gb/s at 40 ms; the kernel's default is 4 MiB. */
const LOW_WMEM_BYTES = 4 * 1024 ** 2
const TOOL_TIMEOUT_MS = 3_000
/** Nothing of this program is older: a clock before it is wrong. */
const FIRST_RELEASE = Date.parse('2026-01-01')

const run = promisify(execFile)

/** Every check, in the order a person would make them. `agent` is the running one, if it runs. */
export async function runDoctor(home: Home, agent: AgentApi | undefined): Promise<CheckReport[]> {
  const status = await agent?.status().catch(() => undefined)
  const config = await loadConfig(home.config).catch((error: unknown) => error as FluidError)
  const local = await Promise.all([
    checkNode(),
    checkStart(),
    checkHome(home),
    checkConfig(home, config),
    checkAgent(home, status),
    ...(config instanceof Error ? [] : checkPorts(config, status)),
    checkTool('qemu-img'),
    checkTool('qemu-nbd'),
    ...foldersOf(home, status).flatMap((folder) => [checkSpace(folder), checkHoles(folder)]),
    checkClock(home),
    checkDescriptors(),
    checkCongestion(),
    checkSocketBuffers(),
  ])
  const known = new Set(local.map(({ name }) => name))
  const told = (await agent?.doctor().catch((error: unknown) => [failed('agent checks', error)])) ?? []
  const peers = told.some(({ name }) => name.startsWith('peer')) ? [] : (status?.peers ?? []).map(checkPeer)
  return [...local, ...told.filter(({ name }) => !known.has(name)), ...peers]
}

const ok = (name: string, detail: string): CheckReport => ({ name, state: 'ok', detail })
const warn = (name: string, detail: string, hint: string): CheckReport => ({
  name,
  state: 'warn',
  detail,
  hint,
})
const fail = (name: string, detail: string, hint: string): CheckReport => ({
  name,
  state: 'fail',
  detail,
  hint,
})

function failed(name: string, error: unknown): CheckReport {
  const { message } = error as Error
  return fail(name, message, error instanceof FluidError ? error.hint : 'Run it again with --verbose')
}

async function checkNode(): Promise<CheckReport> {
  const major = Number(process.versions.node.split('.')[0])
  if (major >= MIN_NODE) return ok('node', process.version)
  return fail(
    'node',
    `${process.version} is older than ${MIN_NODE}`,
    `Install Node ${MIN_NODE}, or run npm ci and use npm run`,
  )
}

async function checkStart(): Promise<CheckReport> {
  const name = 'start'
  if (arePackagesPacked()) return ok(name, 'packages are put together')
  return warn(
    name,
    'packages are loaded one by one: commands and agents start later',
    'npm run postinstall, after whatever npm installed without its scripts',
  )
}

async function checkHome(home: Home): Promise<CheckReport> {
  try {
    await openHome(home.path)
    const { mode } = await stat(home.path)
    if (mode & 0o077) {
      return warn('home', `${home.path} can be entered by others`, `chmod 700 ${home.path}`)
    }
    return ok('home', `${home.path}, key private`)
  } catch (error) {
    return failed('home', error)
  }
}

async function checkConfig(home: Home, config: Config | Error): Promise<CheckReport> {
  if (config instanceof Error) return failed('config', config)
  const isThere = await stat(home.config).catch(() => undefined)
  return isThere
    ? ok('config', home.config)
    : warn(
        'config',
        `there is no ${home.config}`,
        'All keys have their defaults; if there was one, put it back',
      )
}

/** Who holds the state: the agent that answers, nobody, or something that does not answer. */
async function checkAgent(home: Home, status: StatusReport | undefined): Promise<CheckReport> {
  if (status) return ok('agent', `runs (pid ${status.pid}, version ${status.version})`)
  const holder = await lockHolder(path.join(home.state, 'LOCK')).catch(() => undefined)
  if (holder !== undefined) {
    return fail(
      'agent',
      `Process ${holder} holds the state but does not answer`,
      `Look at what it does, or stop it: kill ${holder}`,
    )
  }
  return warn('agent', 'does not run', 'Start it with fluidcloud agent')
}

/** The process that has a POSIX lock on a file, from /proc/locks: `1: POSIX ADVISORY WRITE pid major:minor:inode …`. */
async function lockHolder(file: string): Promise<number | undefined> {
  const { ino } = await stat(file)
  const locks = await readFile('/proc/locks', 'utf8')
  const held = locks.split('\n').find((line) => line.includes(`:${ino} `))
  return held === undefined ? undefined : Number(held.trim().split(/\s+/)[4])
}

/** Configured TCP ports: free while no agent runs; the agent itself listens otherwise. */
function checkPorts(config: Config, status: StatusReport | undefined): Promise<CheckReport>[] {
  if (status) {
    const listening = [...status.addrs, ...status.dataAddrs].length
    return [
      Promise.resolve(
        listening > 0
          ? ok(
              'ports',
              `listening: ${[...new Set([...status.addrs.map(portOf), ...status.dataAddrs.map(portOf)])].join(', ')}`,
            )
          : fail(
              'ports',
              'the agent listens nowhere',
              'Check listen and data_port in config.toml, and the log of the agent',
            ),
      ),
    ]
  }
  const ports = new Set([...config.listen.map(portOf), String(config.dataPort)])
  ports.delete('0')
  return [...ports].filter((port) => /^\d+$/.test(port)).map((port) => checkFree(Number(port)))
}

/** 4001 of /ip4/0.0.0.0/tcp/4001/p2p/… and of 192.0.2.7:4001. */
function portOf(address: string): string {
  return /\/(?:tcp|udp)\/(\d+)/.exec(address)?.[1] ?? /:(\d+)$/.exec(address)?.[1] ?? address
}

async function checkFree(port: number): Promise<CheckReport> {
  const server = createServer()
  try {
    server.listen(port)
    await once(server, 'listening')
    return ok(`port ${port}`, 'free')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'EADDRINUSE' ? 'taken by another program' : message
    return fail(`port ${port}`, why, `Stop that program (ss -ltnp), or choose another port in config.toml`)
  } finally {
    server.close()
  }
}

async function checkTool(name: string): Promise<CheckReport> {
  try {
    const { stdout } = await run(name, ['--version'], { timeout: TOOL_TIMEOUT_MS })
    return ok(name, /\d+(\.\d+)+/.exec(stdout)?.[0] ?? 'found')
  } catch {
    return warn(
      name,
      'not found: only raw images, block devices and nbd can be moved',
      'Install qemu-utils (Debian) or qemu-img (Fedora)',
    )
  }
}

function foldersOf(home: Home, status: StatusReport | undefined): string[] {
  const granted = (status?.peers ?? []).flatMap(({ grant }) => (grant ? [grant.folder] : []))
  return [...new Set(granted.length > 0 ? granted : [home.imports])]
}

async function checkSpace(folder: string): Promise<CheckReport> {
  const name = `space ${folder}`
  try {
    const { bavail, bsize, files, ffree } = await statfs(folder)
    const freeBytes = bavail * bsize
    const detail = `${formatBytes(freeBytes)} free`
    if (freeBytes < NO_SPACE_BYTES) return fail(name, detail, 'Free space there: jobs into it would stop')
    if (files > 0 && ffree === 0)
      return fail(name, 'no inodes left', 'Delete files there, or grow the file system')
    return freeBytes < LOW_SPACE_BYTES ? warn(name, detail, 'Large volumes will not fit') : ok(name, detail)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return fail(
      name,
      code === 'ENOENT' ? 'does not exist' : message,
      `Create it (mkdir -p ${folder}), or name another in the policy`,
    )
  }
}

/** Writes a file with a hole and asks where its data is: a sparse move needs an honest answer. */
async function checkHoles(folder: string): Promise<CheckReport> {
  const name = `holes ${folder}`
  const holeBytes = 1024 * 1024
  let probe: string | undefined
  try {
    probe = await mkdtemp(path.join(folder, '.fluidcloud-doctor-'))
    await using file = await open(path.join(probe, 'probe'), 'w+')
    await file.write(Buffer.alloc(4096, 1), 0, 4096, holeBytes)
    if (seekHole(file.fd, 0) === 0 && seekData(file.fd, 0) === holeBytes)
      return ok(name, 'sparse files keep their holes')
    return warn(
      name,
      'the file system shows no holes',
      'Volumes will take their full size there; ext4, xfs, btrfs and tmpfs do not',
    )
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return warn(name, 'not checked', 'The folder does not exist')
    if (code === 'EACCES' || code === 'EROFS')
      return fail(name, message, 'The agent must be able to write there')
    return warn(name, message, 'Volumes may take their full size there')
  } finally {
    if (probe) await rm(probe, { recursive: true, force: true })
  }
}

/** Tickets expire and receipts are dated: a clock that is wrong by years breaks both. */
async function checkClock(home: Home): Promise<CheckReport> {
  const now = Date.now()
  const hint = 'Set the clock: timedatectl set-ntp true'
  if (now < FIRST_RELEASE) return fail('clock', `says ${new Date(now).toISOString()}`, hint)
  const key = await stat(home.identityKey).catch(() => undefined)
  if (key && key.mtimeMs > now + 60_000)
    return fail('clock', 'is earlier than when the identity was made', hint)
  return ok('clock', new Date(now).toISOString())
}

async function checkDescriptors(): Promise<CheckReport> {
  const name = 'descriptors'
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '')
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1]
  if (soft === undefined)
    return warn(name, 'limit not known here', 'Nothing to do on other systems than Linux')
  if (Number(soft) >= LOW_DESCRIPTORS) return ok(name, `${soft} may be open`)
  return warn(name, `only ${soft} may be open`, 'ulimit -n 65536, or LimitNOFILE=65536 in the unit')
}

async function checkCongestion(): Promise<CheckReport> {
  const name = 'congestion'
  const current = await readSysctl('net/ipv4/tcp_congestion_control')
  if (current === undefined) return warn(name, 'not known here', 'Nothing to do on other systems than Linux')
  // Lanes choose bbr on far lines by themselves where they may.
  const allowed = (await readSysctl('net/ipv4/tcp_allowed_congestion_control'))?.split(/\s+/) ?? []
  if (current === 'bbr' || allowed.includes('bbr')) return ok(name, `${current}; bbr on far lines`)
  return ok(
    name,
    `${current}; on lines that lose packets bbr is many times as fast: modprobe tcp_bbr, then sysctl -w net.ipv4.tcp_allowed_congestion_control="${allowed.join(' ')} bbr"`,
  )
}

async function checkSocketBuffers(): Promise<CheckReport> {
  const name = 'socket buffers'
  const most = Number((await readSysctl('net/ipv4/tcp_wmem'))?.split(/\s+/)[2])
  if (!Number.isFinite(most)) return warn(name, 'not known here', 'Nothing to do on other systems than Linux')
  const detail = `a connection sends at most ${formatBytes(most)} ahead (tcp_wmem)`
  if (most >= LOW_WMEM_BYTES) return ok(name, detail)
  return warn(name, detail, 'sysctl -w net.ipv4.tcp_wmem="4096 65536 16777216", or use more --streams')
}

async function readSysctl(name: string): Promise<string | undefined> {
  return readFile(`/proc/sys/${name}`, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  )
}

function checkPeer({ name, connected }: StatusReport['peers'][number]): CheckReport {
  return connected
    ? ok(`peer ${name}`, 'connected')
    : warn(
        `peer ${name}`,
        'not connected now',
        'It is dialed when a job needs it; if that fails, check its agent and its addresses',
      )
}
