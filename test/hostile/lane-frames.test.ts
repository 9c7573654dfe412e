/**
 * A paired sender whose lanes lie: each way is one lane's worth of wrong frames. Whatever it is, nothing of it is
 * written, the offence is counted, and the agent goes on serving others.
 */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import test from 'ava'
import type { ErrorCode } from '../../protocol/errors.ts'
import { CHUNK_MAX_BYTES, MAX_WINDOW_CHUNKS, WINDOW_BYTES } from '../../protocol/limits.ts'
import { ENTRY_BYTES } from '../../protocol/manifest.ts'
import { entriesOf, type RogueLane } from '../helpers/rogue-lane.ts'
import { openJob, type RogueJob } from '../helpers/rogue-sender.ts'
import type { RoguePeer } from '../helpers/rogue-peer.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'
import { zstdBomb } from '../helpers/zstd-bomb.ts'

const MiB = 1024 * 1024
const KiB = 1024
const bytes = randomBytes(100_000)
const one = entriesOf([{ offset: 0, bytes }])
const zeros = new Uint8Array(128 * KiB)

interface Way {
  readonly title: string
  /** Of the volume; 1 MiB unless given. */
  readonly sizeBytes?: number
  act(lane: RogueLane, job: RogueJob): void | Promise<void>
  /** What the job shows; PROTOCOL_VIOLATION unless given. */
  readonly code?: ErrorCode
  /** Bounds the growth of the process while the way is tried, bytes. */
  readonly maxGrowthBytes?: number
}

/** A window in which `bytes` is wanted. */
async function wanted(lane: RogueLane, entries = one): Promise<void> {
  lane.have(1, 0, MiB, entries)
  await lane.hear('want')
}

const WAYS: readonly Way[] = [
  { title: 'a first window numbered 2', act: (lane) => lane.have(2, 0, MiB, one) },
  {
    title: 'a window number twice',
    act: async (lane) => {
      await wanted(lane)
      lane.have(1, 0, MiB, one)
    },
  },
  { title: 'a window beyond the volume', act: (lane) => lane.have(1, 0, MiB + 1, one) },
  {
    title: 'a window that starts within a cell',
    sizeBytes: 8 * MiB,
    act: (lane) => lane.have(1, 4096, WINDOW_BYTES, new Uint8Array()),
  },
  {
    title: 'a window that ends within a cell',
    sizeBytes: 8 * MiB,
    act: (lane) => lane.have(1, 0, WINDOW_BYTES + 4096, new Uint8Array()),
  },
  {
    title: 'blocks of a window that has none to compare',
    act: async (lane) => {
      await wanted(lane)
      lane.write({ blocks: { window: 1 } }, new Uint8Array(100))
    },
  },
  {
    title: 'blocks of a window that is not open',
    act: (lane) => lane.write({ blocks: { window: 7 } }, new Uint8Array(4)),
  },
  { title: 'an empty window', act: (lane) => lane.have(1, 0, 0, new Uint8Array()) },
  { title: 'a window that ends before it starts', act: (lane) => lane.have(1, MiB, 0, new Uint8Array()) },
  { title: 'a window at 2^53', act: (lane) => lane.have(1, 0, 2 ** 53, new Uint8Array()) },
  {
    title: 'a window announced again on a second lane',
    act: async (lane, job) => {
      await wanted(lane)
      const second = await job.lane(1)
      second.have(1, 0, MiB, entriesOf([{ offset: 0, bytes: randomBytes(50_000) }]))
    },
  },
  {
    title: 'entries that overlap',
    act: (lane) =>
      lane.have(
        1,
        0,
        MiB,
        entriesOf([
          { offset: 0, bytes },
          { offset: 98_304, bytes },
        ]),
      ),
  },
  {
    title: 'entries in descending order',
    act: (lane) =>
      lane.have(
        1,
        0,
        MiB,
        entriesOf([
          { offset: 204_800, bytes },
          { offset: 0, bytes },
        ]),
      ),
  },
  {
    title: 'an entry beyond its window',
    sizeBytes: 8 * MiB,
    act: (lane) => lane.have(1, 0, WINDOW_BYTES, entriesOf([{ offset: WINDOW_BYTES, bytes }])),
  },
  {
    title: 'an entry at 2^60',
    act: (lane) => lane.have(1, 0, MiB, entriesOf([{ offset: 2 ** 60, bytes }])),
  },
  {
    title: 'an entry across 4 MiB',
    sizeBytes: 8 * MiB,
    act: (lane) => lane.have(1, 0, 8 * MiB, entriesOf([{ offset: WINDOW_BYTES - 4096, bytes }])),
  },
  {
    title: 'an entry of no bytes',
    act: (lane) => lane.have(1, 0, MiB, entriesOf([{ offset: 0, bytes, length: 0 }])),
  },
  {
    title: 'an entry longer than a chunk may be',
    act: (lane) => lane.have(1, 0, MiB, entriesOf([{ offset: 0, bytes, length: CHUNK_MAX_BYTES + 1 }])),
  },
  {
    title: 'more data than a window holds',
    sizeBytes: 8 * MiB,
    act: (lane) =>
      lane.have(
        1,
        0,
        8 * MiB,
        entriesOf(Array.from({ length: 33 }, (_, i) => ({ offset: i * 128 * KiB, bytes: zeros }))),
      ),
  },
  {
    title: 'more entries than a window holds',
    act: (lane) => lane.have(1, 0, MiB, new Uint8Array((MAX_WINDOW_CHUNKS + 1) * ENTRY_BYTES)),
  },
  {
    title: 'a chunk of one byte in each block',
    sizeBytes: WINDOW_BYTES,
    act: (lane) =>
      lane.have(
        1,
        0,
        WINDOW_BYTES,
        entriesOf(
          Array.from({ length: MAX_WINDOW_CHUNKS }, (_, i) => ({
            offset: i * 4096,
            bytes: Uint8Array.of(1),
          })),
        ),
      ),
  },
  { title: 'half an entry', act: (lane) => lane.have(1, 0, MiB, one.subarray(0, ENTRY_BYTES / 2)) },
  {
    title: 'more windows than may be open',
    sizeBytes: 64 * MiB,
    act: (lane) => {
      for (let i = 0; i < 5; i++) {
        const start = i * WINDOW_BYTES
        lane.have(
          i + 1,
          start,
          start + WINDOW_BYTES,
          entriesOf([{ offset: start, bytes: randomBytes(4096) }]),
        )
      }
    },
  },
  { title: 'data before any window', act: (lane) => lane.data(1, 0, 1, bytes) },
  {
    title: 'more entries unasked than a window has',
    act: (lane) => lane.write({ have: { window: 1, start: 0, end: MiB, unasked: 2 } }, one),
  },
  {
    title: 'chunks unasked in a second window',
    sizeBytes: 8 * MiB,
    act: (lane) => {
      lane.have(1, 0, WINDOW_BYTES, new Uint8Array())
      const next = { window: 2, start: WINDOW_BYTES, end: 2 * WINDOW_BYTES, unasked: 1 }
      lane.write({ have: next }, entriesOf([{ offset: WINDOW_BYTES, bytes }]))
    },
  },
  {
    title: 'data of another window',
    act: async (lane) => {
      await wanted(lane)
      lane.data(2, 0, 1, bytes)
    },
  },
  {
    title: 'data that was not wanted',
    act: async (lane) => {
      // The second is the first once more: only one of them is wanted.
      await wanted(
        lane,
        entriesOf([
          { offset: 0, bytes },
          { offset: 204_800, bytes },
        ]),
      )
      lane.data(1, 1, 1, bytes)
    },
  },
  {
    title: 'data twice',
    act: async (lane) => {
      await wanted(
        lane,
        entriesOf([
          { offset: 0, bytes },
          { offset: 204_800, bytes: randomBytes(8192) },
        ]),
      )
      lane.data(1, 0, 1, bytes)
      lane.data(1, 0, 1, bytes)
    },
  },
  {
    title: 'data beyond the entries of its window',
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 2, bytes)
    },
  },
  {
    title: 'data of no entries',
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 0, bytes)
    },
  },
  {
    title: 'data that is other bytes',
    code: 'CHUNK_DIGEST',
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 1, randomBytes(bytes.length))
    },
  },
  {
    title: 'data of two chunks of which the second is other bytes',
    code: 'CHUNK_DIGEST',
    act: async (lane) => {
      const second = randomBytes(2400)
      await wanted(
        lane,
        entriesOf([
          { offset: 0, bytes },
          { offset: bytes.length, bytes: second },
        ]),
      )
      lane.data(1, 0, 2, Buffer.concat([bytes, randomBytes(second.length)]))
    },
  },
  {
    title: 'data shorter than its chunk',
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 1, bytes.subarray(1))
    },
  },
  {
    title: 'a raw length that is not the payload’s',
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 1, bytes.subarray(1), 1, bytes.length)
    },
  },
  {
    title: 'a raw length of 2 GiB',
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 1, zstdBomb(8192), 2, 2 ** 31)
    },
  },
  {
    title: 'a decompression bomb of 1 GiB',
    maxGrowthBytes: 128 * MiB,
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 1, zstdBomb(8192), 2, bytes.length)
    },
  },
  {
    title: 'compressed data that is shorter than it says',
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 1, zstdCompressSync(bytes.subarray(1)), 2, bytes.length)
    },
  },
  {
    title: 'compressed data with more behind it',
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 1, Buffer.concat([zstdCompressSync(bytes), zstdCompressSync(bytes)]), 2, bytes.length)
    },
  },
  {
    title: 'compressed data that is garbage',
    code: 'CHUNK_DIGEST',
    act: async (lane) => {
      await wanted(lane)
      lane.data(1, 0, 1, randomBytes(5000), 2, bytes.length)
    },
  },
  {
    title: 'a codec nobody knows',
    act: async (lane) => {
      await wanted(lane)
      lane.write({ data: { window: 1, first: 0, count: 1, codec: 7 as 1, rawBytes: bytes.length } }, bytes)
    },
  },
  {
    title: 'a header of 4 GiB',
    act: (lane) => lane.write({ bye: {} }, undefined, { headerBytes: 2 ** 32 - 1 }),
  },
  {
    title: 'a payload of 4 GiB',
    maxGrowthBytes: 128 * MiB,
    act: (lane) =>
      lane.write({ have: { window: 1, start: 0, end: MiB } }, one, { payloadBytes: 2 ** 32 - 1 }),
  },
  {
    title: 'a header of no bytes',
    act: (lane) => lane.write({ bye: {} }, bytes, { headerBytes: 0, payloadBytes: 5 }),
  },
  {
    title: 'a header that is no protobuf',
    act: (lane) => lane.sendBytes(Buffer.from('05000000000000000fffffffff', 'hex')),
  },
  {
    title: 'a frame of no message',
    act: (lane) => lane.sendBytes(Buffer.from('0300000000000000f80101', 'hex')),
  },
  { title: 'a bye with a payload', act: (lane) => lane.write({ bye: {} }, bytes) },
  {
    title: 'a want, which is the receiver’s to say',
    act: (lane) => lane.write({ want: { window: 1 } }, Uint8Array.of(1)),
  },
  {
    title: 'an open on a lane that is open',
    act: (lane) => lane.write({ open: { token: randomBytes(16), lane: 0 } }),
  },
  {
    title: 'a window behind its bye',
    act: (lane) => {
      lane.write({ bye: {} })
      lane.have(1, 0, MiB, one)
    },
  },
  {
    title: 'a frame that is cut short',
    code: 'LANE_FAILED',
    act: async (lane) => {
      await wanted(lane)
      lane.write(
        { data: { window: 1, first: 0, count: 1, codec: 1, rawBytes: bytes.length } },
        bytes.subarray(1),
        {
          payloadBytes: bytes.length,
        },
      )
      lane.socket.destroySoon()
    },
  },
]

let victim: Victim
let rogue: RoguePeer & { readonly folder: string }

test.before(async () => {
  victim = await openVictim()
  rogue = await victim.rogue()
})
test.after.always(() => victim[Symbol.asyncDispose]())

for (const { title, sizeBytes = MiB, act, code = 'PROTOCOL_VIOLATION', maxGrowthBytes } of WAYS) {
  test.serial(`a sender's lane with ${title} is dropped, counted, and nothing is put in place`, async (t) => {
    // A line that breaks is nobody's fault.
    const kind = { PROTOCOL_VIOLATION: 'lane-violation', CHUNK_DIGEST: 'chunk-digest' }[code as string]
    const before = { files: await victim.files(), refused: await victim.refused() }
    const peakBytes = process.resourceUsage().maxRSS * KiB
    const job = await openJob(rogue, victim.dataPort, { sizeBytes })
    using lane = await job.lane()
    await act(lane, job)
    await job.talk.ended
    if (maxGrowthBytes) t.true(process.resourceUsage().maxRSS * KiB - peakBytes < maxGrowthBytes)
    const { error, state } = (await victim.job(job.id))!
    t.is(error?.code, code, error?.message)
    t.is(state, 'reconnecting')
    if (kind) t.is((await victim.refused())[kind], (before.refused[kind] ?? 0) + 1)
    t.deepEqual(await victim.files(), before.files)
    const staged = await readFile(join(rogue.folder, `.${job.agreement.destination}.${job.id}.part`))
    if (staged.subarray(0, bytes.length).equals(bytes)) staged.fill(0, 0, bytes.length)
    t.true(
      staged.equals(Buffer.alloc(sizeBytes)),
      'What is staged is what was announced and proven, or nothing',
    )
    await victim.serves(t)
    await victim.agent.api.cancel({ job: job.id })
  })
}
