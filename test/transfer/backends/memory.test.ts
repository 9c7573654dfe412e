import test from 'ava'
import { createMemorySink, createMemorySource } from '../../../transfer/backends/memory.ts'
import { testSink } from '../../conformance/sink.ts'
import { testSource } from '../../conformance/source.ts'

testSource('memory', { open: async (_t, content) => createMemorySource(content) })

testSink('memory', {
  async create(_t, sizeBytes) {
    const bytes = Buffer.alloc(sizeBytes)
    return { open: async () => createMemorySink(bytes) }
  },
})

test('createMemorySink() is full when its capacity is', (t) => {
  const sink = createMemorySink(Buffer.alloc(100_000), { capacityBytes: 8192 })
  void sink.write(Buffer.alloc(8192, 1), 0)
  void sink.write(Buffer.alloc(100, 1), 50)
  const error = t.throws(() => sink.write(Buffer.alloc(1, 1), 8192), { code: 'NO_SPACE' })
  t.regex(String(error?.message), /offset 8192/)
})
