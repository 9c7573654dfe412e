/**
 * The trial of the paper (HotCloud '13, section 5), beaten or not: a machine with 5.4 GB of data and a volume of 512 MiB leave one
 * QEMU cloud for another over an emulated line of 1 Gb/s, live, while a client writes. The object store stays at the old
 * place, and is read from the new one with scoped credentials. Prints each figure beside the paper's, and asserts nothing. Software emulation: what a guest takes to boot says nothing about the relocation, and stands apart.
 *
 * Usage: node test/lab/paper-trial.ts [--data 5400MB] [--round-trip 10]; needs root, QEMU, gcc, Swift, and 15 GB of disk for the whole.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { RelocationReport } from '../../agent/reports/relocation-reports.ts'
import { openQemuCloud } from '../../agent/clouds/qemu.ts'
import { initHome } from '../../agent/home.ts'
import { formatBytes, formatDuration, parseSize } from '../../agent/units.ts'
import { startAgent, type Agent } from '../bench/contenders/agents.ts'
import type { End } from '../bench/line.ts'
import { noWanLine, openWanLine } from '../bench/wan/wan-line.ts'
import { run } from '../helpers/programs.ts'
import { buildGuest, guestMachine, guestMissing } from './guest.ts'
import { objectStoreMissing, openObjectStore, type ObjectStore } from './object-store.ts'

const MiB = 2 ** 20
const RATE_MBIT = 1000
const VOLUME_BYTES = 512 * MiB
const HTTP_PORT = 18_080
/** File systems and the system itself, beside the data. */
const ROOM_BYTES = 640 * MiB
const TICKET_EXPIRES_MS = 60_000
const OBJECT = 'hello from where it always was'

const { values } = parseArgs({
  options: { data: { type: 'string', default: '5400MB' }, 'round-trip': { type: 'string', default: '10' } },
})
const missing = guestMissing() ?? noWanLine() ?? objectStoreMissing()
if (missing) throw new Error(`This trial ${missing}`)
const fillBytes = parseSize(values.data)

const folder = await mkdtemp(join(tmpdir(), 'fluidcloud-trial-'))
try {
  await trial()
} finally {
  await rm(folder, { recursive: true, force: true })
}

async function trial(): Promise<void> {
  const say = (text: string) => console.error(`${new Date().toISOString()} ${text}`)
  const shape = {
    rateMbit: RATE_MBIT,
    roundTripMs: Number(values['round-trip']),
    lossPercent: 0,
    congestion: 'cubic',
  }
  await using line = await openWanLine(shape, folder)
  await using stack = new AsyncDisposableStack()
  const owner = { teardown: (close: () => unknown) => stack.defer(async () => void (await close())) }
  const store = await openObjectStore(owner, { at: line.sender })
  await store.put('greeting', OBJECT)
  say('building the guest')
  await mkdir(join(folder, 'guest'))
  const rootBytes = Math.ceil((fillBytes * 1.1 + ROOM_BYTES) / MiB) * MiB
  const images = await buildGuest(join(folder, 'guest'), {
    rootBytes,
    fillBytes,
    dataBytes: VOLUME_BYTES,
    store,
  })
  const machines = [join(folder, 'here'), join(folder, 'there')] as const
  await using here = await openQemuCloud({ machines: machines[0], accel: 'tcg', bridges: [] })
  await here.define(guestMachine('shop', images, { httpPort: HTTP_PORT }))
  await using source = await agentAt(line.sender, 'source', machines[0])
  await using target = await agentAt(line.receiver, 'target', machines[1])
  const ticket = await target.api.pairTicket({
    expiresMs: TICKET_EXPIRES_MS,
    uses: 1,
    folder: join(folder, 'arrived'),
    approve: 'auto',
  })
  await source.api.pairRedeem({ ticket: ticket.ticket, name: 'target' })
  await target.api.policySet({ peer: 'source', relocate: 'qemu' })
  say('booting the guest')
  await source.api.machineStart({ name: 'shop' })
  try {
    const bootSeconds = await serving(line.sender)
    if ((await ask(line.sender, 'object?key=greeting')) !== OBJECT)
      throw new Error('The guest has no object store')
    say('relocating')
    const { job } = await source.api.relocate({
      text: serviceToml(store),
      peer: 'target',
      brokers: [],
      live: true,
    })
    const writing = writeOn(line.sender)
    const report = await watched(source, job, say)
    const acknowledged = await writing.stop()
    if (report.state !== 'live') throw new Error(`It is ${report.state}: ${report.error?.message}`)
    const kept = (await ask(line.receiver, 'records')).split('\n').map(Number)
    const object = await ask(line.receiver, 'object?key=greeting').catch(String)
    print(report, {
      bootSeconds,
      object: object === OBJECT ? 'fetched' : `not fetched: ${object}`,
      lost: acknowledged.filter((number) => !kept.includes(number)).length,
      acknowledged: acknowledged.length,
    })
    await source.api.finalize({ job })
  } finally {
    for (const [i, cloud] of [
      here,
      await openQemuCloud({ machines: machines[1], accel: 'tcg', bridges: [] }),
    ].entries()) {
      for (const name of await cloud.machines()) await cloud.stop(name, { graceMs: 0 })
      if (i === 1) await cloud[Symbol.asyncDispose]()
    }
  }
}

async function agentAt(end: End, name: string, machines: string): Promise<Agent> {
  const home = join(folder, name)
  const { config } = await initHome(home, { name })
  const clouds = `\n[clouds.qemu]\nmachines = ${JSON.stringify(machines)}\naccel = "tcg"\n`
  await writeFile(config, (await readFile(config, 'utf8')) + clouds)
  return await startAgent(end, home)
}

/** The store stays; the service is given a key that only reads from its bucket. */
function serviceToml({ endpoint, bucket, region, scoped }: ObjectStore): string {
  return `name = "shop"
cutover = { max_downtime = "10s", gate = "10m" }
[[object_store]]
endpoint = "${endpoint}"
buckets = ["${bucket}"]
[[machine]]
name = "shop"
[[machine.rebind]]
endpoint = "${endpoint}"
region = "${region}"
bucket = "${bucket}"
accessKey = "${scoped.accessKey}"
secretKey = "${scoped.secretKey}"
object = "greeting"
files = [{ path = "/etc/shop/shop.env", format = "env", keys = { accessKey = "S3_ACCESS_KEY", secretKey = "S3_SECRET_KEY" } }]
[[health]]
http = "http://127.0.0.1:${HTTP_PORT}/cgi-bin/ready"
`
}

async function watched(source: Agent, job: string, say: (text: string) => void): Promise<RelocationReport> {
  let last: RelocationReport | undefined
  for await (const report of source.api.relocationWatch({ job })) {
    if (report.state !== last?.state || report.round !== last.round)
      say(`${report.state}, round ${report.round}, ${formatBytes(report.dirtyBytes ?? 0)} written`)
    last = report
  }
  return last!
}

/** What the guest answers at one end of the line; throws when it does not. */
async function ask(end: End, path: string): Promise<string> {
  const url = `http://127.0.0.1:${HTTP_PORT}/cgi-bin/${path}`
  const [program, args] = end.command('curl', ['-sf', '-m', '5', url])
  return (await run(program, [...args])).stdout
}

async function serving(end: End): Promise<number> {
  const begun = performance.now()
  for (;;) {
    if (
      await ask(end, 'ready').then(
        () => true,
        () => false,
      )
    )
      return (performance.now() - begun) / 1000
    await delay(200)
  }
}

/** Numbered records, one after the other, as long as the guest at `end` takes them. */
function writeOn(end: End): { stop(): Promise<number[]> } {
  const acknowledged: number[] = []
  let stopped = false
  const running = (async () => {
    for (let number = 1; !stopped; number++) {
      const said = await ask(end, `record?n=${number}`).catch(() => '')
      if (said === `ok ${number}\n`) acknowledged.push(number)
      await delay(100)
    }
  })()
  return {
    async stop() {
      stopped = true
      await running
      return acknowledged
    },
  }
}

interface Outcome {
  readonly bootSeconds: number
  /** What came of fetching an object through the new place. */
  readonly object: string
  readonly lost: number
  readonly acknowledged: number
}

function print(report: RelocationReport, { bootSeconds, object, lost, acknowledged }: Outcome): void {
  const {
    timings,
    pauseToDataSeconds = NaN,
    downtimeSeconds = NaN,
    startToHealthySeconds = NaN,
    seconds,
  } = report
  const adaptSeconds = ((timings?.adapting ?? 0) + (timings?.registering ?? 0)) / 1000
  const show = (value: number) => formatDuration(value * 1000)
  const rows = [
    ['', 'the paper', 'here'],
    [
      `machine (${formatBytes(fillBytes)}) and volume (512 MiB) moved`,
      '~5 min + ~1 min',
      show(seconds - downtimeSeconds),
    ],
    ['reconfiguration', '~10 s', show(adaptSeconds)],
    ['pause until all data is there', '', show(pauseToDataSeconds)],
    ['downtime', '~10 min', show(downtimeSeconds)],
    ['  of it the boot, in software emulation', '', show(startToHealthySeconds)],
    ['  without the boot', '', show(downtimeSeconds - startToHealthySeconds)],
    ['the whole relocation without the boot', '', show(seconds - startToHealthySeconds)],
    ['boot at the source, for comparison', '', show(bootSeconds)],
    ['object through the new place, scoped credentials', '', object],
    ['acknowledged records, and lost ones', '', `${acknowledged}, ${lost}`],
  ]
  for (const [what, paper, ours] of rows) console.log(`${what.padEnd(58)} ${paper.padEnd(16)} ${ours}`)
  const { round, sentBytes, wireBytes, roots } = report
  console.log(
    JSON.stringify({
      fillBytes,
      round,
      sentBytes,
      wireBytes,
      seconds,
      downtimeSeconds,
      pauseToDataSeconds,
      startToHealthySeconds,
      timings,
      object,
      lost,
      roots,
    }),
  )
}
