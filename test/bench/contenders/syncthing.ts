/** syncthing: two instances that know only each other, one folder, one file put into it. */
import { once } from 'node:events'
import { link, mkdir, rename, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Contender } from '../contender.ts'
import type { End } from '../line.ts'
import { measure } from '../meter.ts'
import { freePort } from '../../helpers/free-port.ts'
import { startServer, type Server } from '../processes.ts'
import { taskFolder } from '../task-folder.ts'
import { run } from '../../helpers/programs.ts'

const NAME = 'disk.raw'
const KEY = 'benchmark'
const POLL_MS = 50
const CONNECT_TIMEOUT_MS = 30_000

interface Instance {
  readonly home: string
  readonly folder: string
  readonly id: string
  readonly port: number
  readonly end: End
}

export const syncthing: Contender = {
  name: 'syncthing',
  needs: ['syncthing'],
  traits: { verified: true, encrypted: true, resumable: true },
  slow: true,
  async move({ source, held, folder, line }) {
    // A hard link puts the source into the folder without a copy, so the folder is beside the source.
    await using beside = await taskFolder(dirname(source))
    const target = join(folder, 'target')
    const sender = await createInstance(line.sender, join(folder, 'sender'), beside.path)
    const receiver = await createInstance(line.receiver, join(folder, 'receiver'), target)
    await configure(sender, receiver, 'sendonly')
    await configure(receiver, sender, 'receiveonly')
    await using _sender = await start(sender)
    await using _receiver = await start(receiver)
    await untilConnected(sender, receiver)
    const put = async (disk: string): Promise<void> => {
      const before = await inodeOf(join(target, NAME))
      await link(disk, join(beside.path, '.new'))
      await rename(join(beside.path, '.new'), join(beside.path, NAME))
      await ask(sender, 'POST', '/rest/db/scan?folder=bench')
      // It writes beside the old file and renames when all is there.
      while ((await inodeOf(join(target, NAME))) === before) await sleep(POLL_MS)
    }
    if (held) await put(held)
    const { figures } = await measure(line, () => put(source))
    return { ...figures, target: join(target, NAME) }
  },
}

async function createInstance(end: End, home: string, folder: string): Promise<Instance> {
  for (const path of [home, join(folder, '.stfolder')]) await mkdir(path, { recursive: true })
  await run('syncthing', ['generate', `--home=${home}`, '--no-default-folder'])
  const { stdout } = await run('syncthing', [`--home=${home}`, '--device-id'])
  return { home, folder, id: stdout.trim(), port: await freePort(), end }
}

/** Tells `self` of `peer` and of nothing else in the world. */
async function configure(self: Instance, peer: Instance, type: 'sendonly' | 'receiveonly'): Promise<void> {
  const device = ({ id, port, end }: Instance): string =>
    `<device id="${id}" name="${id.slice(0, 7)}"><address>tcp://${end.address}:${port}</address></device>`
  const off = [
    'globalAnnounceEnabled',
    'localAnnounceEnabled',
    'relaysEnabled',
    'natEnabled',
    'startBrowser',
    'crashReportingEnabled',
  ]
  const xml = `<configuration version="35">
  <folder id="bench" path="${self.folder}" type="${type}" rescanIntervalS="0" fsWatcherEnabled="false">
    <device id="${self.id}"/><device id="${peer.id}"/><minDiskFree unit="%">0</minDiskFree>
  </folder>
  ${device(self)}${device(peer)}
  <gui enabled="true" tls="false"><address>${socketOf(self)}</address><apikey>${KEY}</apikey></gui>
  <options>
    <listenAddress>tcp://${self.end.address}:${self.port}</listenAddress>
    ${off.map((name) => `<${name}>false</${name}>`).join('')}
    <urAccepted>-1</urAccepted><autoUpgradeIntervalH>0</autoUpgradeIntervalH>
    <reconnectionIntervalS>1</reconnectionIntervalS>
  </options>
</configuration>
`
  await writeFile(join(self.home, 'config.xml'), xml)
}

function start({ end, home, port }: Instance): Promise<Server> {
  return startServer(end, port, 'syncthing', ['serve', `--home=${home}`, '--no-browser', '--no-restart'], {
    env: { STNOUPGRADE: '1', HOME: home },
  })
}

async function untilConnected(self: Instance, peer: Instance): Promise<void> {
  const deadline = performance.now() + CONNECT_TIMEOUT_MS
  for (;;) {
    const answer = await ask(self, 'GET', '/rest/system/connections').catch(() => '{}')
    const { connections } = JSON.parse(answer) as { connections?: Record<string, { connected: boolean }> }
    if (connections?.[peer.id]?.connected) return
    if (performance.now() > deadline) throw new Error('Two instances of syncthing did not find each other')
    await sleep(POLL_MS)
  }
}

/** Its REST API, over a Unix socket: it may be in a network of its own. */
async function ask(instance: Instance, method: string, path: string): Promise<string> {
  const headers = { 'X-API-Key': KEY, Host: 'localhost' }
  const asked = request({ socketPath: socketOf(instance), path, method, headers }).end()
  const [response] = await once(asked, 'response')
  let text = ''
  for await (const part of response) text += String(part)
  return text
}

function socketOf({ home }: Instance): string {
  return join(home, 'gui.sock')
}

async function inodeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.ino
}
