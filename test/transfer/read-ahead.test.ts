import test from 'ava'
import { FluidError } from '../../protocol/errors.ts'
import { ReadAhead } from '../../transfer/read-ahead.ts'
import { bufferSource } from '../helpers/buffer-source.ts'
import { noise } from '../helpers/volume.ts'

const STEP_BYTES = 1000
/** That which is cut next, and those ahead of it. */
const STEPS_UNDER_WAY = 8
const content = noise(20 * STEP_BYTES + 77, 3)
const extent = { offset: STEP_BYTES / 2, length: content.length - STEP_BYTES }

interface AskedRead {
  readonly offset: number
  readonly lengthBytes: number
  /** Fills what was asked for. */
  arrive(): void
  fail(error: Error): void
}

/** A source whose reads are there when they are told to arrive; those from offset `promptFrom` on at once. */
function slowSource({ promptFrom = Infinity } = {}) {
  const inner = bufferSource(content)
  const asked: AskedRead[] = []
  return {
    ...inner,
    asked,
    read(target: Uint8Array, offset: number) {
      if (offset >= promptFrom) return inner.read(target, offset)
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const arrive = () => {
        void inner.read(target, offset)
        resolve()
      }
      asked.push({ offset, lengthBytes: target.length, arrive, fail: reject })
      return promise
    },
  }
}

test('steps that have to be waited for are asked for ahead, so many at most, and come in order', async (t) => {
  const source = slowSource()
  const target = Buffer.alloc(extent.length)
  const reads = new ReadAhead(source, extent, target, STEP_BYTES)
  for (let done = 0, steps = 0; done < extent.length; done += STEP_BYTES, steps++) {
    const step = reads.next()
    t.is(source.asked.length, Math.min(steps + STEPS_UNDER_WAY, Math.ceil(extent.length / STEP_BYTES)))
    source.asked[steps].arrive()
    await step
    const end = Math.min(done + STEP_BYTES, extent.length)
    t.true(target.subarray(0, end).equals(content.subarray(extent.offset, extent.offset + end)))
  }
  t.deepEqual(source.asked.at(-1)?.lengthBytes, extent.length % STEP_BYTES)
})

test('what is at hand is read when its turn comes', (t) => {
  const source = bufferSource(content)
  const reads = new ReadAhead(source, extent, Buffer.alloc(extent.length), STEP_BYTES)
  for (const steps of [1, 2, 3]) {
    t.is(reads.next(), undefined)
    t.is(source.readBytes, steps * STEP_BYTES)
  }
})

test('a source may stop being slow', async (t) => {
  const source = slowSource({ promptFrom: extent.offset + 2 * STEP_BYTES })
  const target = Buffer.alloc(extent.length)
  const reads = new ReadAhead(source, extent, target, STEP_BYTES)
  for (let steps = 0; steps * STEP_BYTES < extent.length; steps++) {
    const step = reads.next()
    t.is(step === undefined, steps >= 2)
    source.asked[steps]?.arrive()
    await step
  }
  t.true(target.equals(content.subarray(extent.offset, extent.offset + extent.length)))
})

test('a step that fails does so when its turn comes; settle() waits for the others', async (t) => {
  const source = slowSource()
  const target = Buffer.alloc(extent.length)
  const reads = new ReadAhead(source, extent, target, STEP_BYTES)
  const first = reads.next()
  source.asked[1].fail(new FluidError('SOURCE_READ', 'A broken sector'))
  source.asked[0].arrive()
  await first
  await t.throwsAsync(async () => reads.next(), { code: 'SOURCE_READ' })
  let settled = false
  const settling = reads.settle().then(() => (settled = true))
  for (const { arrive } of source.asked.slice(2, -1)) arrive()
  await new Promise((resolve) => setImmediate(resolve))
  t.false(settled)
  source.asked.at(-1)!.arrive()
  await settling
  t.is(source.asked.length, STEPS_UNDER_WAY + 1)
})
