import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { MessageChannel, type Worker } from 'node:worker_threads'
import test from 'ava'
import { openDataListener, type AcceptedSocket } from '../../agent/viaduct/data-listener.ts'
import { MAX_UNNOTED_WINDOWS, TOKEN_BYTES, WINDOW_BYTES } from '../../protocol/limits.ts'
import { discardUrl } from '../../transfer/backends/discard.ts'
import { FEW_CORES } from '../../transfer/backends/write-turns.ts'
import { generatedUrl } from '../../transfer/backends/generated.ts'
import { CHUNKING_FASTCDC_64K } from '../../transfer/chunker.ts'
import type { LaneDescriptor } from '../../transfer/lane.ts'
import type { FromLane, ReceiveJob, ScanJob } from '../../transfer/lane-job.ts'
import { LanePool, type LaneHandle } from '../../transfer/lane-pool.ts'
import { LaneSet } from '../../transfer/lane-set.ts'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { createRecentTable } from '../../transfer/recent-chunks.ts'
import { createCounters } from '../../transfer/transfer-counters.ts'
import { eventually } from '../helpers/eventually.ts'
import { openRogueLane } from '../helpers/rogue-lane.ts'

const job: ScanJob = {
  role: 'scan',
  sourceUrl: generatedUrl(64 * WINDOW_BYTES),
  chunking: CHUNKING_FASTCDC_64K,
}
const window = {
  type: 'window',
  start: 0,
  end: WINDOW_BYTES,
  extents: [{ offset: 0, length: WINDOW_BYTES }],
} as const

/** A lane and all it said; `said` resolves when it says that. */
function open(pool: LanePool, laneJob: ScanJob = job) {
  const heard: FromLane[] = []
  const waiting = new Map<string, () => void>()
  const lane: LaneHandle = pool.open(laneJob, (message) => {
    heard.push(message)
    waiting.get(message.type)?.()
  })
  const said = (type: FromLane['type']) =>
    new Promise<void>((resolve) =>
      heard.some((message) => message.type === type) ? resolve() : waiting.set(type, resolve),
    )
  const closings = () => heard.filter((message) => message.type === 'closed')
  return { lane, heard, said, closings }
}

test('open() runs a lane to its end: windows in, entries out, closed last and once', async (t) => {
  await using pool = new LanePool(1)
  const { lane, heard, said, closings } = open(pool)
  await said('next')
  lane.send(window)
  await said('scanned')
  lane.send({ type: 'finish' })
  await lane.closed
  t.is(heard.at(-1)?.type, 'closed')
  t.deepEqual(
    closings().map(({ error }) => error),
    [undefined],
  )
})

test('open() tells what a lane failed of', async (t) => {
  await using pool = new LanePool(1)
  const { lane, closings } = open(pool, { ...job, sourceUrl: 'file:///none' })
  await lane.closed
  t.deepEqual(
    closings().map(({ error }) => error?.code),
    ['SOURCE_MISSING'],
  )
})

test('abort() closes an idle lane, and leaves its neighbour in the same thread alone', async (t) => {
  await using pool = new LanePool(1)
  const [one, other] = [open(pool), open(pool)]
  await Promise.all([one.said('next'), other.said('next')])
  one.lane.abort()
  await one.lane.closed
  t.is(one.closings()[0].error?.code, 'INTERRUPTED')
  t.is(other.closings().length, 0)
  other.lane.send(window)
  await other.said('scanned')
})

test('disposing a pool closes every lane with LANE_FAILED, once, and it opens no more', async (t) => {
  const pool = new LanePool(2)
  const lanes = [open(pool), open(pool), open(pool)]
  await Promise.all(lanes.map(({ said }) => said('next')))
  await pool[Symbol.asyncDispose]()
  for (const { lane, closings } of lanes) {
    await lane.closed
    t.deepEqual(
      closings().map(({ error }) => error?.code),
      ['LANE_FAILED'],
    )
    lane.abort()
  }
  t.throws(() => open(pool), { code: 'INTERRUPTED' })
})

test('LaneSet.add() is false for a lane that never opened, which nobody else hears of', async (t) => {
  await using pool = new LanePool(1)
  await using lanes = new LaneSet(pool, createCounters(), {
    onReport: () => t.fail(),
    onClosed: () => t.fail(),
  })
  t.false(await lanes.add({ ...job, sourceUrl: 'file:///none' }))
  t.is(lanes.open, 0)
  t.is(lanes.path, undefined)
  await lanes.settle()
})

test('a lane that receives goes no further while what it placed is not noted', async (t) => {
  const windows = 4 * MAX_UNNOTED_WINDOWS
  const sizeBytes = windows * WINDOW_BYTES
  const [identity, sender] = await Promise.all([createLaneIdentity('one'), createLaneIdentity('other')])
  await using pool = new LanePool(1)
  await using listener = await openDataListener({ host: '127.0.0.1', port: 0 })
  const token = randomBytes(TOKEN_BYTES)
  const accepted = Promise.withResolvers<AcceptedSocket>()
  using _expected = listener.expect(token, (socket) => accepted.resolve(socket))
  const name = { port: listener.address.port, serverName: serverName(token, 0) }
  const connecting = openRogueLane({ ...name, identity: sender })
  const { fd, head } = await accepted.promise
  let placed = 0
  const descriptor = {
    kind: 'tls-accept',
    fd,
    head,
    identity,
    peerCertificate: sender.certificateDer,
  } as const
  const lane = pool.open(
    { ...receiving(false), sinkUrl: discardUrl(sizeBytes), sizeBytes, lane: descriptor },
    ({ type }) => type === 'placed' && placed++,
  )
  using rogue = await connecting
  for (let i = 0; i < windows; i++)
    rogue.have(i + 1, i * WINDOW_BYTES, (i + 1) * WINDOW_BYTES, new Uint8Array())
  for (let i = 0; i < MAX_UNNOTED_WINDOWS; i++) await rogue.hear('want')
  await eventually(() => placed >= MAX_UNNOTED_WINDOWS || undefined)
  let wanted = MAX_UNNOTED_WINDOWS
  const more = rogue.hear('want').then(() => wanted++)
  for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual([placed, wanted], [MAX_UNNOTED_WINDOWS, MAX_UNNOTED_WINDOWS])
  lane.send({ type: 'noted', windows: 1 })
  await more
  t.is(wanted, MAX_UNNOTED_WINDOWS + 1)
  lane.send({ type: 'noted', windows: MAX_UNNOTED_WINDOWS })
  await eventually(() => placed === 2 * MAX_UNNOTED_WINDOWS + 1 || undefined)
  lane.abort()
  await lane.closed
})

test('warm() starts a thread that the next lane is given, once, and none in a pool that is closed', async (t) => {
  const pool = new LanePool(2)
  pool.warm()
  pool.warm()
  const { lane, said } = open(pool)
  await said('next')
  lane.send({ type: 'finish' })
  await lane.closed
  await pool[Symbol.asyncDispose]()
  t.notThrows(() => pool.warm())
})

// Alone, since threads of other tests start, too.
test.serial(
  'disposing a pool whose thread is about to start waits until it has loaded its modules',
  async (t) => {
    const pool = new LanePool(1)
    const starting = once(process, 'worker') as Promise<[Worker]>
    pool.warm()
    const [thread] = await starting
    let loaded = false
    thread.once('message', () => (loaded = true))
    await pool[Symbol.asyncDispose]()
    t.true(loaded)
  },
)

test.serial(
  'receiving lanes leave one of many cores alone, unless most of their work is to read',
  async (t) => {
    t.is(await threadsOf(FEW_CORES + 1, false), FEW_CORES)
    t.is(await threadsOf(FEW_CORES + 1, true), FEW_CORES + 1)
    t.is(await threadsOf(FEW_CORES, false), FEW_CORES)
    t.is(await threadsOf(1, false), 1)
  },
)

test.serial(
  'lanes to an end on this machine leave it half of the cores, unless most of their work is to read',
  async (t) => {
    t.is(await threadsOf(2, false, OWN), 1)
    t.is(await threadsOf(2, false, { ...OWN, sameMachine: false }), 2)
    t.is(await threadsOf(3, false, OWN), 2)
    t.is(await threadsOf(2, true, OWN), 2)
    t.is(await threadsOf(1, false, OWN), 1)
  },
)

/** Nobody listens there. */
const OWN = {
  kind: 'tls-dial',
  host: '127.0.0.1',
  port: 1,
  sameMachine: true,
  serverName: 'none',
  identity: { keyPem: '', certificatePem: '' },
  peerCertificate: new Uint8Array(1),
} as const

/** Threads that as many receiving lanes as there are cores take. */
async function threadsOf(cores: number, rereads: boolean, lane?: LaneDescriptor): Promise<number> {
  let threads = 0
  const count = () => void threads++
  process.on('worker', count)
  {
    await using pool = new LanePool(cores)
    const lanes = Array.from({ length: cores }, () =>
      pool.open({ ...receiving(rereads), ...(lane && { lane }) }, () => {}),
    )
    for (const lane of lanes) lane.abort()
    await Promise.all(lanes.map(({ closed }) => closed))
  }
  process.off('worker', count)
  return threads
}

/** A job whose lane nobody answers. */
function receiving(rereads: boolean): ReceiveJob {
  return {
    role: 'receive',
    lane: { kind: 'port', port: new MessageChannel().port1, path: 'libp2p' },
    sinkUrl: 'file:///none',
    sizeBytes: WINDOW_BYTES,
    statePath: '/none',
    scopes: [],
    recent: createRecentTable(16),
    comparesBlocks: false,
    unaskedBytes: 0,
    rereads,
  }
}
