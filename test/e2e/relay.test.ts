/** Agents that nobody can dial, and a relay between them: agents of this process, without any listener of their own. */
import { readFile, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import { createAgent, type Agent } from '../../agent/agent.ts'
import type { JobReport } from '../../agent/reports/job-reports.ts'
import { initHome } from '../../agent/home.ts'
import { eventually } from '../helpers/eventually.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { MiB, noise, sameBytes } from '../helpers/volume.ts'
import { freePort } from '../helpers/free-port.ts'

const test = ava.serial

// Else a connection that the library forgot to close keeps this process alive.
test.after.always(async () => (await import('node-datachannel')).cleanup())

interface Started {
  readonly agent: Agent
  readonly home: string
  readonly dataPort: number
  /** Ends it and starts another on the same home. */
  restart(config: string): Promise<Started>
}

async function start(
  t: ExecutionContext,
  name: string,
  config: string,
  { reachable = false } = {},
): Promise<Started> {
  const { path, config: file } = await initHome(join(await tempDir(t), name), { name })
  const sample = await readFile(file, 'utf8')
  const run = async (keys: string): Promise<Started> => {
    await writeFile(file, `${sample.replaceAll(/^\[.*$/gm, '# $&')}\n${keys}\n`)
    const listen = reachable ? [`/ip4/127.0.0.1/tcp/${port}`] : []
    const agent = await createAgent({ home: path, listen, dataPort, mdns: false, logLevel: 'silent' })
    let over = false
    const end = async () => {
      if (over) return
      over = true
      await agent[Symbol.asyncDispose]()
    }
    t.teardown(end)
    return {
      agent,
      home: path,
      dataPort,
      async restart(changed) {
        await end()
        return run(changed)
      },
    }
  }
  const port = reachable ? await freePort() : 0
  const dataPort = await freePort()
  return run(config)
}

async function pair(sender: Started, receiver: Started, name: string): Promise<void> {
  const { ticket } = await receiver.agent.api.pairTicket({ expiresMs: 600_000, uses: 1, approve: 'auto' })
  await sender.agent.api.pairRedeem({ ticket, name })
}

interface Trio {
  readonly relay: Started
  readonly alpine: Started
  readonly boreal: Started
  readonly source: string
  readonly target: string
}

/** Forwards connections at `port` of 127.0.0.1 to another port there. */
async function openDoor(port: number, to: number): Promise<Server> {
  const server = createServer((socket) => {
    const inner = connect(to, '127.0.0.1')
    socket.pipe(inner).pipe(socket)
    socket.on('error', () => inner.destroy())
    inner.on('error', () => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return server
}

/** Two that only a relay connects, paired with it and with each other. */
async function startTrio(
  t: ExecutionContext,
  {
    relay: quota = '',
    alpine: a = '',
    boreal: b = '',
  }: { relay?: string; alpine?: string; boreal?: string } = {},
): Promise<Trio> {
  const relay = await start(t, 'relay', `relay = true\n${quota}`, { reachable: true })
  const [alpine, boreal] = await Promise.all([start(t, 'alpine', a), start(t, 'boreal', b)])
  await pair(alpine, relay, 'relay')
  await pair(boreal, relay, 'relay')
  const { peerId } = await relay.agent.api.id()
  for (const { agent } of [alpine, boreal])
    await eventually(async () => (await agent.api.status()).reachedThrough?.includes(peerId) || undefined)
  await pair(alpine, boreal, 'boreal')
  return {
    relay,
    alpine,
    boreal,
    source: join(alpine.home, '..', 'disk.raw'),
    target: join(boreal.home, 'imports', 'disk.raw'),
  }
}

async function until(agent: Agent, job: string, wanted: (report: JobReport) => boolean): Promise<JobReport> {
  return eventually(async () => {
    const report = (await agent.api.jobs()).find((each) => each.job === job)!
    if (report.state === 'failed') throw new Error(report.error?.message)
    return wanted(report) ? report : undefined
  })
}

const move = async ({ alpine, source }: Trio, bandwidth?: number) =>
  (await alpine.agent.api.move({ source, peer: 'boreal', destination: 'disk.raw', lanes: 2, bandwidth })).job

test('two that only a relay connects are paired and move a volume through it, and say so', async (t) => {
  const allow = 'allow_relay = true'
  const trio = await startTrio(t, { alpine: allow, boreal: allow })
  await writeFile(trio.source, noise(8 * MiB, 1))
  const job = await move(trio)
  const report = await until(trio.alpine.agent, job, ({ state }) => state === 'complete')
  t.is(report.path, 'relay')
  t.regex(report.pathReason!, /No address of the sender answers.*no address of the receiver answers.*relay/)
  t.true(await sameBytes(trio.source, trio.target))
  for (const { agent } of [trio.alpine, trio.boreal]) {
    // The receiver may hear a moment later that the sender has signed.
    const receipt = await eventually(async () => {
      const found = await agent.api.receipt({ job })
      return found.signaturesValid ? found : undefined
    })
    t.is(receipt.path, 'relay')
    t.true(receipt.bytesByPath.relay > 8 * MiB)
  }
  const { relay } = await trio.relay.agent.api.status()
  t.is(relay?.reservations, 2)
  t.true(relay!.bytes > 8 * MiB)
  const status = await trio.alpine.agent.api.status()
  t.is(status.peers.find(({ name }) => name === 'boreal')?.reached, 'relay')
  const checks = await trio.alpine.agent.api.doctor()
  t.regex(checks.find(({ name }) => name === 'peer boreal')!.detail, /through a relay: none of its/)
})

for (const [who, alpine, boreal] of [
  ['the sender', '', 'allow_relay = true'],
  ['the receiver', 'allow_relay = true', ''],
]) {
  test(`data does not pass a relay when ${who} does not allow it`, async (t) => {
    const trio = await startTrio(t, { alpine, boreal })
    await writeFile(trio.source, noise(1 * MiB, 1))
    const job = await move(trio)
    const { error } = await until(trio.alpine.agent, job, (report) => report.error !== undefined)
    t.is(error?.code, 'NO_PATH')
    t.regex(
      error!.message,
      who === 'the sender' ? /this agent lets no data pass/ : /the peer lets no data pass/,
    )
    const { relay } = await trio.relay.agent.api.status()
    t.true(relay!.bytes < 1 * MiB)
    await trio.alpine.agent.api.cancel({ job })
  })
}

test('a job that started on a relay moves to a direct way in the same job', async (t) => {
  const port = await freePort()
  const allow = 'allow_relay = true'
  const trio = await startTrio(t, { alpine: allow, boreal: `${allow}\ndata_host = "127.0.0.1:${port}"` })
  await writeFile(trio.source, noise(24 * MiB, 1))
  const job = await move(trio, 3 * MiB)
  await until(trio.alpine.agent, job, ({ path, doneBytes }) => path === 'relay' && doneBytes > 0)
  const door = await openDoor(port, trio.boreal.dataPort)
  t.teardown(() => door.close())
  const report = await until(trio.alpine.agent, job, ({ state }) => state === 'complete')
  t.is(report.pathReason, undefined)
  t.true(await sameBytes(trio.source, trio.target))
  const { bytesByPath, path } = await trio.alpine.agent.api.receipt({ job })
  t.is(path, 'tls')
  t.true(bytesByPath.relay > 4 * MiB && bytesByPath.tls > 1 * MiB, JSON.stringify(bytesByPath))
})

const WEBRTC = 'webrtc = true\nstun_port = 0'

test('two that only a relay connects punch a hole, and data goes past the relay, which neither allows', async (t) => {
  const trio = await startTrio(t, { relay: WEBRTC, alpine: WEBRTC, boreal: WEBRTC })
  await writeFile(trio.source, noise(8 * MiB, 1))
  const job = await move(trio)
  await until(trio.alpine.agent, job, ({ state }) => state === 'complete')
  t.true(await sameBytes(trio.source, trio.target))
  const { path, bytesByPath } = await trio.boreal.agent.api.receipt({ job })
  t.is(path, 'webrtc')
  // The control stream may have gone there first, data never.
  t.true((bytesByPath.relay ?? 0) < 1 * MiB && bytesByPath.webrtc > 8 * MiB, JSON.stringify(bytesByPath))
  t.true((await trio.relay.agent.api.status()).relay!.bytes < 1 * MiB)
  for (const [{ agent }, other] of [
    [trio.alpine, 'boreal'],
    [trio.boreal, 'alpine'],
  ] as const) {
    const { peers } = await agent.api.status()
    t.is(peers.find(({ name }) => name === other)?.reached, 'webrtc')
    const checks = await agent.api.doctor()
    t.regex(checks.find(({ name }) => name === `peer ${other}`)!.detail, /WebRTC.*punched/)
  }
})

test('a job that started on a relay moves to a punched way in the same job', async (t) => {
  const allow = 'allow_relay = true'
  const trio = await startTrio(t, { relay: WEBRTC, alpine: `${allow}\n${WEBRTC}`, boreal: allow })
  await writeFile(trio.source, noise(24 * MiB, 1))
  const job = await move(trio, 3 * MiB)
  await until(trio.alpine.agent, job, ({ path, doneBytes }) => path === 'relay' && doneBytes > 0)
  await trio.boreal.restart(`${allow}\n${WEBRTC}`)
  await until(trio.alpine.agent, job, ({ state }) => state === 'complete')
  t.true(await sameBytes(trio.source, trio.target))
  const { bytesByPath, path } = await trio.alpine.agent.api.receipt({ job })
  t.is(path, 'webrtc')
  t.true(bytesByPath.relay > 1 * MiB && bytesByPath.webrtc > 1 * MiB, JSON.stringify(bytesByPath))
})

test('a job that used up the quota of a relay says so, and goes on when there is more', async (t) => {
  const allow = 'allow_relay = true'
  const quota = (bytes: string) => `[relay_quota]\nbytes = "${bytes}"\npeer_bytes = "${bytes}"`
  const trio = await startTrio(t, { relay: quota('16MiB'), alpine: allow, boreal: allow })
  await writeFile(trio.source, noise(24 * MiB, 1))
  const job = await move(trio, 6 * MiB)
  const { error } = await until(trio.alpine.agent, job, (report) => report.error?.code === 'LIMIT_EXCEEDED')
  t.regex(error!.message, /The relay in front of boreal carries nothing for us/)
  const { relay: before } = await trio.relay.agent.api.status()
  t.true(before!.bytes < 17 * MiB)
  t.is(before!.spentBy.length, 2)
  // What was carried today is remembered.
  const restarted = await trio.relay.restart(`relay = true\n${quota('1GiB')}`)
  t.true((await restarted.agent.api.status()).relay!.bytes >= before!.bytes)
  const report = await until(trio.alpine.agent, job, ({ state }) => state === 'complete')
  t.is(report.path, 'relay')
  t.true(report.resumedBytes > 0)
  t.true(await sameBytes(trio.source, trio.target))
})
