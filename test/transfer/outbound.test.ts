import { readFileSync, truncateSync } from 'node:fs'
import test from 'ava'
import { FluidError } from '../../protocol/errors.ts'
import type { RangeSet } from '../../protocol/extent.ts'
import { NEAR_ROUND_TRIP_MS, NEAR_WINDOWS, WINDOW_BYTES, WINDOWS_PER_LANE } from '../../protocol/limits.ts'
import { CHUNKING_FASTCDC_64K } from '../../transfer/chunker.ts'
import type { LaneJob } from '../../transfer/lane-job.ts'
import { LanePool } from '../../transfer/lane-pool.ts'
import { createPacer } from '../../transfer/pacer.ts'
import { journaledDigest } from '../../transfer/root.ts'
import { openAttempt, sides } from '../helpers/engine.ts'
import { eventually } from '../helpers/eventually.ts'
import { cachedBytes, hasProgram, noSmallFileSystems, smallFileSystem } from '../helpers/programs.ts'
import { referenceManifest } from '../helpers/reference-manifest.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { noise, prose } from '../helpers/volume.ts'

const MiB = 2 ** 20

const pools = { sender: new LanePool(2), receiver: new LanePool(2) }
test.after.always(() =>
  Promise.all([pools.sender[Symbol.asyncDispose](), pools.receiver[Symbol.asyncDispose]()]),
)

const content = Buffer.concat([
  noise(20 * MiB, 1),
  Buffer.alloc(9 * MiB),
  prose(7 * MiB, 2),
  noise(MiB, 1),
  Buffer.from('tail'),
])
const expected = referenceManifest(content)

/** Lets everything that is ready run, the other threads included: no promise that they are done. */
async function turns(count = 100): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('Outbound and Inbound move a volume over three lanes; both journals come to its root', async (t) => {
  const both = await sides(t, content)
  await using attempt = await openAttempt(both, { pools })
  const { outbound, inbound, journals, counters } = attempt
  t.deepEqual(await attempt.openLanes(3), [true, true, true])
  await outbound.done
  await Promise.all([outbound.settle(), inbound.settle()])
  t.true(readFileSync(both.targetPath).equals(content))
  for (const journal of [journals.sender, journals.receiver]) {
    const { root } = await journaledDigest(journal, content.length, CHUNKING_FASTCDC_64K)
    t.deepEqual(Buffer.from(root), Buffer.from(expected.root))
  }
  t.is(outbound.doneBytes, content.length)
  t.is(inbound.doneBytes, content.length)
  t.is(outbound.path, 'tls')
  t.is(attempt.rewrites(), 0)
  const { sentBytes, dedupedBytes, zeroBytes, wireBytes } = counters.sender
  t.is(sentBytes + dedupedBytes + zeroBytes, content.length)
  t.deepEqual({ ...counters.receiver, wireBytes: 0 }, { ...counters.sender, wireBytes: 0 })
  t.true(Math.abs(wireBytes / counters.receiver.wireBytes - 1) < 0.02)
  t.is(outbound.openLanes + inbound.openLanes, 0)
})

const noDisk = noSmallFileSystems() ?? (hasProgram('fincore') ? undefined : 'needs fincore')
const onDisk = noDisk === undefined ? test : test.skip
onDisk(`what lanes write to a disk passes by the page cache${noDisk ? ` (${noDisk})` : ''}`, async (t) => {
  const bytes = Buffer.concat([noise(16 * MiB, 4), prose(16 * MiB, 5)])
  const both = await sides(t, bytes, await smallFileSystem(t, await tempDir(t), 96 * MiB))
  await using attempt = await openAttempt(both, { pools })
  await attempt.openLanes(1)
  await attempt.outbound.done
  // Two blocks of each frame, and the last frames of windows when they are short.
  t.true((await cachedBytes(both.targetPath)) < bytes.length / 8)
  t.true(readFileSync(both.targetPath).equals(bytes))
})

test('Inbound tells nothing to be durable before it is synced and journaled', async (t) => {
  const both = await sides(t, content)
  let wrong = 0
  await using attempt = await openAttempt(both, {
    pools,
    async onCheckpoint(ranges) {
      for (const { start, end } of ranges) if (!attempt.journals.receiver.done.contains(start, end)) wrong++
      if (attempt.journals.sender.done.contains(ranges[0].start, ranges[0].end)) wrong++
    },
  })
  await attempt.openLanes(2)
  await attempt.outbound.done
  t.is(wrong, 0)
  t.true(attempt.order.length >= 3)
  for (const [i, step] of attempt.order.entries()) t.is(step, ['sync', 'journal', 'checkpoint'][i % 3])
})

test('Inbound acknowledges nothing when the target cannot be synced', async (t) => {
  const both = await sides(t, content)
  await using attempt = await openAttempt(both, {
    pools,
    sync: () => Promise.reject(new FluidError('TARGET_WRITE', 'What was written did not reach the disk')),
  })
  await attempt.openLanes(1)
  await t.throwsAsync(attempt.inbound.failed, { code: 'TARGET_WRITE' })
  await attempt[Symbol.asyncDispose]()
  t.deepEqual(attempt.order, [])
  t.is(attempt.journals.receiver.done.totalBytes, 0)
  t.is(attempt.journals.sender.done.totalBytes, 0)
  await t.throwsAsync(attempt.outbound.done)
})

test('Outbound hands out nothing while it is paused, and everything once it goes on', async (t) => {
  const both = await sides(t, content)
  await using attempt = await openAttempt(both, { pools })
  attempt.outbound.pause()
  t.deepEqual(await attempt.openLanes(2), [true, true])
  await turns()
  const { sentBytes, zeroBytes } = attempt.counters.sender
  t.deepEqual([sentBytes, zeroBytes, attempt.outbound.doneBytes], [0, 0, 0])
  attempt.outbound.resume()
  await attempt.outbound.done
  t.true(readFileSync(both.targetPath).equals(content))
})

test('Outbound paused midway finishes what is under way, and only that', async (t) => {
  const bytes = noise(40 * MiB, 3)
  const both = await sides(t, bytes)
  await using attempt = await openAttempt(both, { pools, pacers: [createPacer(20 * MiB)] })
  const { sender } = attempt.counters
  await attempt.openLanes(1)
  await eventually(() => sender.sentBytes > 0 || undefined)
  attempt.outbound.pause()
  await eventually(
    () => (attempt.outbound.doneBytes > 0 && attempt.outbound.doneBytes === sender.sentBytes) || undefined,
  )
  t.true(attempt.outbound.doneBytes < bytes.length, `${attempt.outbound.doneBytes} bytes are done`)
})

test('an attempt whose lane is cut fails on both sides, and the next sends only the rest', async (t) => {
  const bytes = noise(80 * MiB, 4)
  const both = await sides(t, bytes)
  const first = await openAttempt(both, { pools })
  first.proxy.down.cutAt = 60 * MiB
  await first.openLanes(2)
  await t.throwsAsync(first.outbound.done, { code: 'LANE_FAILED' })
  await t.throwsAsync(first.inbound.failed, { code: 'LANE_FAILED' })
  await first[Symbol.asyncDispose]()
  const durable = first.journals.receiver.done.clone()
  t.true(
    durable.totalBytes > 0 && durable.totalBytes < bytes.length,
    `${durable.totalBytes} bytes are durable`,
  )
  await using second = await openAttempt(both, { pools })
  t.is(second.inbound.doneBytes, durable.totalBytes)
  await second.openLanes(2)
  await second.outbound.done
  t.true(readFileSync(both.targetPath).equals(bytes))
  t.false(
    [...second.acknowledged].some(({ start, end }) =>
      agreedBefore(first.journals.sender.done, durable).intersects(start, end),
    ),
  )
  t.true(second.counters.sender.sentBytes <= bytes.length - durable.totalBytes)
  // What was placed and not yet durable is found where it lies.
  t.true(first.counters.receiver.sentBytes + second.counters.sender.sentBytes <= bytes.length)
  const { root } = await journaledDigest(second.journals.sender, bytes.length, CHUNKING_FASTCDC_64K)
  t.deepEqual(Buffer.from(root), Buffer.from(referenceManifest(bytes).root))
})

/** What both sides know to be durable: the sender may not have heard of all of it. */
function agreedBefore(sender: RangeSet, receiver: RangeSet): RangeSet {
  return sender.clone().removeAll(receiver.complement(80 * MiB))
}

test('Outbound sends again what only one of the journals holds', async (t) => {
  const bytes = noise(4 * WINDOW_BYTES, 5)
  const both = await sides(t, bytes)
  {
    await using whole = await openAttempt(both, { pools })
    await whole.openLanes(1)
    await whole.outbound.done
  }
  const emptied = await openAttempt(both, { pools })
  await emptied.journals.receiver.clear()
  await emptied[Symbol.asyncDispose]()
  await using attempt = await openAttempt(both, { pools })
  t.is(attempt.outbound.doneBytes, 0)
  await attempt.openLanes(1)
  await attempt.outbound.done
  // All of it lies there already.
  t.is(attempt.counters.sender.sentBytes, 0)
  t.is(attempt.counters.sender.dedupedBytes, bytes.length)
})

test('Outbound has sent everything before all is durable, and knows the root by then', async (t) => {
  const both = await sides(t, content)
  const synced = Promise.withResolvers<void>()
  await using attempt = await openAttempt(both, { pools, sync: () => synced.promise })
  const { outbound, inbound, journals } = attempt
  await attempt.openLanes(2)
  await outbound.sent
  t.is(outbound.doneBytes, 0)
  const root = async () =>
    (await journaledDigest(journals.sender, content.length, CHUNKING_FASTCDC_64K, outbound.pending)).root
  t.deepEqual(Buffer.from(await root()), Buffer.from(expected.root))
  await inbound.untilPlaced()
  synced.resolve()
  await outbound.done
  t.deepEqual(outbound.pending, [])
  t.deepEqual(Buffer.from(await root()), Buffer.from(expected.root))
})

test('Inbound waits for what a lane still brings, and not where no lane does', async (t) => {
  const both = await sides(t, content)
  await using attempt = await openAttempt(both, { pools })
  await attempt.inbound.untilPlaced()
  t.is(attempt.inbound.doneBytes, 0)
  await using other = await openAttempt(await sides(t, content), { pools })
  other.outbound.pause()
  await other.openLanes(1)
  let placed = false
  const waiting = other.inbound.untilPlaced().then(() => (placed = true))
  await turns()
  t.false(placed)
  other.outbound.resume()
  await waiting
  await other.inbound.commit()
  t.is(other.inbound.doneBytes, content.length)
})

test('Outbound takes whole windows that it handed out for durable, each once, and nothing else', async (t) => {
  const both = await sides(t, content)
  const synced = Promise.withResolvers<void>()
  await using attempt = await openAttempt(both, { pools, sync: () => synced.promise })
  const { outbound } = attempt
  const refuses = (start: number, end: number) =>
    t.throwsAsync(outbound.acknowledge([{ start, end }]), { code: 'PROTOCOL_VIOLATION' })
  await refuses(0, WINDOW_BYTES)
  await attempt.openLanes(1)
  await outbound.sent
  await refuses(0, 1)
  await refuses(1, WINDOW_BYTES)
  await refuses(content.length, content.length + WINDOW_BYTES)
  const [, window] = outbound.pending
  await outbound.acknowledge([window])
  await refuses(window.start, window.end)
  t.is(outbound.doneBytes, window.end - window.start)
  synced.resolve()
})

test('Outbound hands out no more than may be unacknowledged, and goes on at each checkpoint', async (t) => {
  const mostUnacknowledged = 3
  const both = await sides(t, content)
  const synced = Promise.withResolvers<void>()
  let most = 0
  await using attempt = await openAttempt(both, {
    pools,
    mostUnacknowledged,
    sync: () => synced.promise,
    async onCheckpoint() {
      most = Math.max(most, attempt.outbound.pending.length)
    },
  })
  const { outbound } = attempt
  await attempt.openLanes(2)
  await eventually(() => outbound.pending.length === mostUnacknowledged || undefined)
  await turns()
  t.is(outbound.pending.length, mostUnacknowledged)
  t.is(outbound.openLanes, 2)
  synced.resolve()
  await outbound.done
  t.is(most, mostUnacknowledged)
  t.true(readFileSync(both.targetPath).equals(content))
})

test('Outbound is done at once when there is nothing to send', async (t) => {
  const both = await sides(t, Buffer.alloc(0))
  await using attempt = await openAttempt(both, { pools })
  await t.notThrowsAsync(attempt.outbound.done)
  await t.notThrowsAsync(attempt.outbound.sent)
  await attempt.inbound.commit()
})

test('Outbound fails when the source becomes shorter', async (t) => {
  const both = await sides(t, noise(12 * MiB, 6))
  await using attempt = await openAttempt(both, { pools })
  truncateSync(both.sourcePath, 5 * MiB)
  await attempt.openLanes(1)
  const error = await t.throwsAsync<FluidError>(attempt.outbound.done)
  t.is(error?.code, 'SOURCE_CHANGED')
})

test('Outbound fails when the thread of its lanes is lost, and addLane() is false where nothing connects', async (t) => {
  const own = { sender: new LanePool(1), receiver: pools.receiver }
  const both = await sides(t, content)
  await using attempt = await openAttempt(both, { pools: own })
  attempt.outbound.pause()
  await attempt.openLanes(1)
  await eventually(() => attempt.outbound.openLanes === 1 || undefined)
  await own.sender[Symbol.asyncDispose]()
  await t.throwsAsync(attempt.outbound.done, { code: 'LANE_FAILED' })
  attempt.proxy.refusing = true
  t.deepEqual(await attempt.openLanes(2), [false, false])
})

for (const [roundTripMs, windows] of [
  [NEAR_ROUND_TRIP_MS, NEAR_WINDOWS],
  [NEAR_ROUND_TRIP_MS + 1, WINDOWS_PER_LANE],
  [undefined, WINDOWS_PER_LANE],
] as const) {
  test(`lanes of a line of ${roundTripMs} ms have memory for ${windows} windows`, async (t) => {
    const sender = new LanePool(1)
    t.teardown(() => sender[Symbol.asyncDispose]())
    const jobs: LaneJob[] = []
    const open = sender.open.bind(sender)
    sender.open = (job, onReport) => (jobs.push(job), open(job, onReport))
    const both = await sides(t, content)
    await using attempt = await openAttempt(both, {
      pools: { sender, receiver: pools.receiver },
      roundTripMs,
    })
    await attempt.openLanes(1)
    await attempt.outbound.done
    t.like(jobs, [{ role: 'send', windows }])
  })
}
