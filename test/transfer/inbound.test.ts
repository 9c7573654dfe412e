import test from 'ava'
import { FluidError } from '../../protocol/errors.ts'
import type { Range } from '../../protocol/extent.ts'
import { MAX_SEPARATE_RANGES } from '../../protocol/limits.ts'
import { Inbound, type InboundOptions } from '../../transfer/inbound.ts'
import { Journal } from '../../transfer/journal.ts'
import type { FromLane, ToLane } from '../../transfer/lane-job.ts'
import type { LaneDescriptor } from '../../transfer/lane.ts'
import { createMemoryLevel } from '../../transfer/memory-level.ts'
import { createRecentTable } from '../../transfer/recent-chunks.ts'
import { createCounters } from '../../transfer/transfer-counters.ts'

const MiB = 2 ** 20
const WINDOW = { start: 0, end: 4 * MiB }
const DESCRIPTOR = { kind: 'tls-dial' } as LaneDescriptor

/** The receiving side of one window, unless told otherwise, with one open lane that the test speaks for. */
async function openInbound(changes: Partial<InboundOptions> = {}, done: readonly Range[] = []) {
  const journal = await Journal.open(createMemoryLevel(), Buffer.alloc(16))
  await journal.append(
    done.map((range) => ({ ...range, entries: new Uint8Array(0) })),
    { durable: true },
  )
  const heard: ToLane[] = []
  const closed = Promise.withResolvers<void>()
  let say: (message: FromLane) => void = () => {}
  const inbound = new Inbound({
    pool: {
      open(_job, onReport) {
        say = onReport
        const abort = () => {
          say({ type: 'closed', wireSentBytes: 0, wireReceivedBytes: 0 })
          closed.resolve()
        }
        return { send: (message) => heard.push(message), abort, closed: closed.promise }
      },
    },
    sinkUrl: '',
    sink: { sync: async () => {} } as InboundOptions['sink'],
    sizeBytes: WINDOW.end,
    journal,
    statePath: '',
    scopes: [],
    recent: createRecentTable(16),
    comparesBlocks: false,
    counters: createCounters(),
    onRewrite: async () => {},
    onCheckpoint: async () => {},
    ...changes,
  })
  void inbound.addLane(DESCRIPTOR)
  say({ type: 'opened', path: 'tls' })
  const announce = (window = WINDOW) => say({ type: 'announced', ...window, missing: true })
  const place = (window = WINDOW) =>
    say({ type: 'placed', ...window, entries: new Uint8Array(0), receivedBytes: 0 })
  return { inbound, journal, heard, announce, place }
}

test('Inbound fails, and makes nothing more durable, when it cannot be noted that something is written anew', async (t) => {
  const full = new Error('No space left on device')
  const told: Range[] = []
  const { inbound, announce, place } = await openInbound(
    {
      sizeBytes: 2 * WINDOW.end,
      onRewrite: () => Promise.reject(full),
      onCheckpoint: async (ranges) => void told.push(...ranges),
    },
    [WINDOW],
  )
  announce()
  place()
  t.is(await t.throwsAsync(inbound.failed), full)
  await inbound[Symbol.asyncDispose]()
  t.deepEqual(told, [])
})

test('commit() rejects with what kept the last windows from becoming durable, whoever heard of it before', async (t) => {
  const full = new FluidError('NO_SPACE', 'What was written did not reach the disk')
  const { inbound, journal, announce, place } = await openInbound({
    sink: { sync: () => Promise.reject(full) } as unknown as InboundOptions['sink'],
  })
  announce()
  place()
  await inbound.untilPlaced()
  t.is(await t.throwsAsync(inbound.commit()), full)
  t.is(await t.throwsAsync(inbound.commit()), full)
  t.is(journal.done.totalBytes, 0)
  await t.notThrowsAsync(inbound[Symbol.asyncDispose]())
})

test('Inbound fails when windows leave more separate ranges than it keeps, and not before', async (t) => {
  const sizeBytes = (MAX_SEPARATE_RANGES + 1) * 2 * WINDOW.end
  const { inbound, announce, place } = await openInbound({ sizeBytes })
  const placeRange = (range: number) => {
    const window = { start: 2 * range * WINDOW.end, end: (2 * range + 1) * WINDOW.end }
    announce(window)
    place(window)
  }
  let failed = false
  inbound.failed.catch(() => (failed = true))
  for (let range = MAX_SEPARATE_RANGES; range > 0; range--) placeRange(range)
  await inbound.commit()
  t.false(failed)
  placeRange(0)
  await t.throwsAsync(inbound.failed, { code: 'PROTOCOL_VIOLATION', message: /gaps/ })
  await inbound[Symbol.asyncDispose]()
})

test('addLane() is false, and the attempt over, where no thread can be had for a lane', async (t) => {
  const { inbound } = await openInbound({
    pool: {
      open() {
        throw new FluidError('INTERRUPTED', 'Opening a lane in a pool that is closed')
      },
    },
  })
  t.false(await inbound.addLane(DESCRIPTOR))
  await t.throwsAsync(inbound.failed, { code: 'INTERRUPTED' })
})
