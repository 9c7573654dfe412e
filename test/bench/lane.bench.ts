/**
 * Speed and cost of lanes on loopback: 1 MiB data frames from WebAssembly memory between two worker threads.
 * Usage: node test/bench/lane.bench.ts [GiB, default 4] [kind ...]; kinds: tls-dial tls-accept libp2p, named after the reader.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { isMainThread, MessageChannel, parentPort, Worker, workerData } from 'node:worker_threads'
import { openDataListener } from '../../agent/viaduct/data-listener.ts'
import { announceLane, pumpLane, readAnnouncement } from '../../agent/viaduct/libp2p-lane.ts'
import { TOKEN_BYTES } from '../../protocol/limits.ts'
import type { Lane, LaneDescriptor } from '../../transfer/lane.ts'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'
import { openLane } from '../../transfer/lanes/open-lane.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { openMeshPair } from '../helpers/mesh-pair.ts'

const FRAME_BYTES = 1024 * 1024
const BUFFERS = 8
const IN_FLIGHT = 4

interface Task {
  readonly role: 'read' | 'write'
  readonly frames: number
  readonly descriptor: LaneDescriptor
}

if (isMainThread) await main()
else await work(workerData as Task)

async function main(): Promise<void> {
  const [size = '4', ...kinds] = process.argv.slice(2)
  const frames = (Number(size) * 2 ** 30) / FRAME_BYTES
  for (const kind of kinds.length > 0 ? kinds : ['tls-dial', 'tls-accept', 'libp2p']) {
    report(kind, frames, kind === 'libp2p' ? await benchLibp2p(frames) : await benchTls(kind, frames))
  }
}

interface Result {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly sentBytes: number
}

async function benchTls(kind: string, frames: number): Promise<Result> {
  const [dialer, accepter] = await Promise.all([createLaneIdentity('dialer'), createLaneIdentity('accepter')])
  await using listener = await openDataListener({ host: '127.0.0.1', port: 0 })
  const token = randomBytes(TOKEN_BYTES)
  const [dialRole, acceptRole] =
    kind === 'tls-dial' ? (['read', 'write'] as const) : (['write', 'read'] as const)
  const accepted = Promise.withResolvers<LaneDescriptor>()
  listener.expect(token, ({ fd, head }) => {
    accepted.resolve({
      kind: 'tls-accept',
      fd,
      head,
      identity: pem(accepter),
      peerCertificate: dialer.certificateDer,
    })
  })
  const { host, port } = listener.address
  const dial: LaneDescriptor = {
    kind: 'tls-dial',
    host,
    port,
    serverName: serverName(token, 0),
    identity: pem(dialer),
    peerCertificate: accepter.certificateDer,
  }
  return await measure(
    [{ role: dialRole, frames, descriptor: dial }],
    accepted.promise.then((descriptor) => ({ role: acceptRole, frames, descriptor })),
  )
}

async function benchLibp2p(frames: number): Promise<Result> {
  await using mesh = await openMeshPair()
  const { opened, received } = await mesh.openStream()
  announceLane(opened, randomBytes(TOKEN_BYTES), 0)
  const { rest } = await readAnnouncement(received)
  const [near, far] = [new MessageChannel(), new MessageChannel()]
  await using _near = pumpLane(opened, near.port1)
  await using _far = pumpLane(received, far.port1, { rest })
  const task = (role: Task['role'], port: MessageChannel['port2']): Task => ({
    role,
    frames,
    descriptor: { kind: 'port', path: 'libp2p', port },
  })
  return await measure([task('write', near.port2)], Promise.resolve(task('read', far.port2)))
}

async function measure(first: Task[], second: Promise<Task>): Promise<Result> {
  const workers = [start(first[0])]
  workers.push(start(await second))
  const ready = await Promise.all(workers.map((worker) => once(worker, 'message')))
  if (ready.some(([message]) => message !== 'ready')) throw new Error('A worker did not become ready')
  const begun = performance.now()
  const cpu = process.cpuUsage()
  for (const worker of workers) worker.postMessage('go')
  const [[a], [b]] = await Promise.all(workers.map((worker) => once(worker, 'message')))
  const { user, system } = process.cpuUsage(cpu)
  const seconds = (performance.now() - begun) / 1000
  await Promise.all(workers.map((worker) => worker.terminate()))
  return { seconds, cpuSeconds: (user + system) / 1e6, sentBytes: Math.max(a, b) }
}

function start(task: Task): Worker {
  const transferList = task.descriptor.kind === 'port' ? [task.descriptor.port] : []
  return new Worker(new URL(import.meta.url), { workerData: task, transferList })
}

async function work({ role, frames, descriptor }: Task): Promise<void> {
  await using lane = await openLane(descriptor)
  const begin = once(parentPort!, 'message')
  parentPort!.postMessage('ready')
  await begin
  await (role === 'read' ? read(lane, frames) : write(lane, frames))
  parentPort!.postMessage(lane.wire.sentBytes)
  await once(parentPort!, 'message') // Ended by terminate().
}

async function write(lane: Lane, frames: number): Promise<void> {
  const memory = new WebAssembly.Memory({
    initial: (BUFFERS * FRAME_BYTES) / 65_536,
    maximum: (BUFFERS * FRAME_BYTES) / 65_536,
  })
  let next = 0
  const writer = async () => {
    while (next < frames) {
      const frame = next++
      const payload = new Uint8Array(memory.buffer, (frame % BUFFERS) * FRAME_BYTES, FRAME_BYTES)
      await lane.write(
        { kind: 'data', window: frame + 1, first: 0, count: 16, codec: 'raw', rawBytes: FRAME_BYTES },
        payload,
      )
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, writer))
  await lane.end()
}

async function read(lane: Lane, frames: number): Promise<void> {
  let bytes = 0
  for await (const { payload } of lane.frames()) bytes += payload.byteLength
  if (bytes !== frames * FRAME_BYTES) throw new Error(`Read ${bytes} bytes of ${frames * FRAME_BYTES}`)
}

/** What can be posted to a worker and is asked for there. */
function pem({ keyPem, certificatePem }: { keyPem: string; certificatePem: string }) {
  return { keyPem, certificatePem }
}

function report(kind: string, frames: number, { seconds, cpuSeconds, sentBytes }: Result): void {
  const bytes = frames * FRAME_BYTES
  const line = {
    bench: 'lane',
    kind,
    megabytesPerSecond: Math.round(bytes / seconds / 1e6),
    mebibytesPerSecond: Math.round(bytes / seconds / 2 ** 20),
    cpuSecondsPerGiB: Number((cpuSeconds / (bytes / 2 ** 30)).toFixed(3)),
    peakRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
    wireRatio: Number((sentBytes / bytes).toFixed(4)),
    node: process.version,
    cores: availableParallelism(),
    commit: commit(),
  }
  console.log(
    `${kind.padEnd(10)} ${line.mebibytesPerSecond} MiB/s, ${line.cpuSecondsPerGiB} CPU s/GiB, peak ${line.peakRssMiB} MiB RSS, wire ${line.wireRatio}x`,
  )
  console.log(JSON.stringify(line))
}

function commit(): string | undefined {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim()
  } catch {
    return undefined
  }
}
