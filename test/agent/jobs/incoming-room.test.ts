import test from 'ava'
import { createIncomingRoom, recentChunksOf, roomOf } from '../../../agent/jobs/incoming-room.ts'
import {
  DEFAULT_LANES,
  INCOMING_LANE_BYTES,
  MAX_INCOMING_BYTES_PER_PEER,
  MAX_JOBS_RUNNING,
  MAX_LANES_ACCEPTED,
} from '../../../protocol/limits.ts'
import { createRecentTable } from '../../../transfer/recent-chunks.ts'

const bounds = { incomingBytes: 100, incomingBytesPerPeer: 60 }

test('take() gives room up to the bound of a peer, and of all', (t) => {
  const room = createIncomingRoom(bounds)
  t.truthy(room.take('a', 'a1', 40))
  t.is(room.take('a', 'a2', 21), undefined)
  t.truthy(room.take('a', 'a2', 20))
  t.is(room.take('b', 'b1', 41), undefined)
  t.truthy(room.take('b', 'b1', 40))
  t.is(room.take('c', 'c1', 1), undefined)
})

test('take() gives again what was disposed, once', (t) => {
  const room = createIncomingRoom(bounds)
  const held = room.take('a', 'a1', 60)!
  t.is(room.take('a', 'a2', 1), undefined)
  held[Symbol.dispose]()
  held[Symbol.dispose]()
  t.truthy(room.take('a', 'a2', 60))
})

test('take() counts a job once: its newer attempt takes over, and the older gives nothing back', (t) => {
  const room = createIncomingRoom(bounds)
  const older = room.take('a', 'a1', 60)!
  const newer = room.take('a', 'a1', 60)!
  older[Symbol.dispose]()
  t.is(room.take('a', 'a2', 1), undefined)
  newer[Symbol.dispose]()
  t.truthy(room.take('a', 'a2', 60))
})

test('grow() gives a job more as long as there is room, and gives all back with the rest', (t) => {
  const room = createIncomingRoom(bounds)
  const held = room.take('a', 'a1', 40)!
  t.true(held.grow(20))
  t.false(held.grow(1))
  t.is(room.take('a', 'a2', 1), undefined)
  t.is(room.take('b', 'b1', 41), undefined)
  held[Symbol.dispose]()
  t.false(held.grow(1))
  t.truthy(room.take('a', 'a2', 60))
})

test('grow() gives nothing to an attempt that another took over', (t) => {
  const room = createIncomingRoom(bounds)
  const older = room.take('a', 'a1', 10)!
  room.take('a', 'a1', 10)
  t.false(older.grow(1))
})

test('roomOf() counts lanes and the table of recent chunks as it is made', (t) => {
  for (const allocatedBytes of [0, 1e6, 5e9, 2 ** 40]) {
    const table = createRecentTable(recentChunksOf({ allocatedBytes })).byteLength
    t.is(roomOf({ allocatedBytes, lanes: 3 }), 3 * INCOMING_LANE_BYTES + table)
  }
})

test('MAX_INCOMING_BYTES_PER_PEER has room for what an agent sends by default, and for any one job', (t) => {
  const allocatedBytes = 2 ** 40
  t.true(MAX_JOBS_RUNNING * roomOf({ allocatedBytes, lanes: DEFAULT_LANES }) <= MAX_INCOMING_BYTES_PER_PEER)
  t.true(roomOf({ allocatedBytes, lanes: MAX_LANES_ACCEPTED }) <= MAX_INCOMING_BYTES_PER_PEER)
})
