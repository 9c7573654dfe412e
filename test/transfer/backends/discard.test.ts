import test from 'ava'
import {
  createDiscardSink,
  discardPlacement,
  discardUrl,
  parseDiscardUrl,
} from '../../../transfer/backends/discard.ts'
import { openSink, openSource } from '../../../transfer/open.ts'
import { collect } from '../../helpers/collect.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

test('createDiscardSink() reads as zeros after a write', async (t) => {
  await using sink = await openSink(discardUrl(10_000))
  await sink.write(Buffer.alloc(10_000, 7), 0)
  await sink.sync()
  const read = Buffer.alloc(10_000, 7)
  await sink.read(read, 0)
  t.true(read.equals(Buffer.alloc(10_000)))
  t.deepEqual(await collect(sink.written(0, 10_000)), [])
})

test('createDiscardSink() refuses what lies beyond its end', (t) => {
  const sink = createDiscardSink(10)
  t.throws(() => sink.write(Buffer.alloc(2), 9), { instanceOf: RangeError })
  t.throws(() => sink.zero(9, 2), { instanceOf: RangeError })
  t.throws(() => sink.read(Buffer.alloc(2), 9), { instanceOf: RangeError })
})

test('discardPlacement() is never resumed, and can be closed twice', async (t) => {
  const placement = discardPlacement(5)
  t.false(placement.resumed)
  t.is(parseDiscardUrl(placement.sinkUrl), 5)
  await placement[Symbol.asyncDispose]()
  await t.notThrowsAsync(async () => placement[Symbol.asyncDispose]())
})

test('openSource() does not read what was discarded', async (t) => {
  await refusedWith(t, 'USAGE', openSource(discardUrl(5)))
})
