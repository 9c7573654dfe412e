import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import { openMessageStream, type MessageStreamOptions } from '../../broker/message-stream.ts'
import { frameControl } from '../../protocol/frame-reader.ts'
import { openMeshPair, type MeshPair } from '../helpers/mesh-pair.ts'
import { refusedWith } from '../helpers/refused-with.ts'

type Test = ExecutionContext<{ pair: MeshPair }>
const test = anyTest as TestFn<{ pair: MeshPair }>
test.before(async (t) => {
  t.context.pair = await openMeshPair()
})
test.after.always((t) => t.context.pair[Symbol.asyncDispose]())

const OPTIONS = { maxFrameBytes: 256 * 1024, maxUnreadBytes: 1024 * 1024, timeoutMs: 60_000 }

async function both(t: Test, options: Partial<MessageStreamOptions> = {}) {
  const { opened, received } = await t.context.pair.openStream()
  const [asker, answerer] = [opened, received].map((stream) =>
    openMessageStream(stream, { ...OPTIONS, ...options }),
  )
  t.teardown(() => Promise.all([asker[Symbol.asyncDispose](), answerer[Symbol.asyncDispose]()]))
  return { asker, answerer, opened, received }
}

test.serial('MessageStream gives messages whole, in order, then the end', async (t) => {
  const { asker, answerer } = await both(t)
  const bodies = [1, 250_000, 3].map((length, n) => new Uint8Array(length).fill(n))
  for (const body of bodies) await asker.send(body)
  await asker[Symbol.asyncDispose]()
  for (const body of bodies) t.deepEqual(await answerer.receive(), body)
  t.is(await answerer.receive(), undefined)
  t.is(answerer.wireBytes.received, asker.wireBytes.sent)
})

test.serial('send() waits for a reader that is slow, and carries all', async (t) => {
  const { asker, answerer } = await both(t, { maxUnreadBytes: 64 * 1024 * 1024 })
  const body = new Uint8Array(250_000)
  const sending = (async () => {
    for (let n = 0; n < 100; n++) await asker.send(body)
    await asker[Symbol.asyncDispose]()
  })()
  let bodies = 0
  while (await answerer.receive()) bodies++
  await sending
  t.is(bodies, 100)
})

test.serial('receive() refuses a message that is too long by its prefix', async (t) => {
  const { answerer, opened } = await both(t, { maxFrameBytes: 1000 })
  opened.send(frameControl(new Uint8Array(1001)).subarray(0, 10))
  await refusedWith(t, 'PROTOCOL_VIOLATION', answerer.receive())
})

test.serial('receive() ends who sends further ahead than is read', async (t) => {
  const { asker, answerer } = await both(t, { maxUnreadBytes: 1000 })
  for (let n = 0; n < 3; n++) await asker.send(new Uint8Array(400))
  const reading = (async () => {
    // What came before the offence may be read.
    for (;;) await answerer.receive()
  })()
  await refusedWith(t, 'LIMIT_EXCEEDED', reading)
})

test.serial('receive() has a deadline, and stops when it is told', async (t) => {
  const { answerer } = await both(t, { timeoutMs: 1 })
  await refusedWith(t, 'TIMEOUT', answerer.receive())
  const stop = new AbortController()
  const waiting = answerer.receive({ signal: stop.signal, timeoutMs: 60_000 })
  stop.abort(new Error('enough'))
  await t.throwsAsync(waiting, { message: 'enough' })
})

test.serial('receive() tells an end within a message from one between messages', async (t) => {
  const { answerer, opened } = await both(t)
  opened.send(frameControl(new Uint8Array(100)).subarray(0, 50))
  await opened.close()
  await refusedWith(t, 'PEER_UNREACHABLE', answerer.receive())
})

test.serial('send() to who is gone fails', async (t) => {
  const { asker, answerer } = await both(t)
  answerer.abort(new Error('gone'))
  await refusedWith(t, 'PEER_UNREACHABLE', asker.receive())
  await refusedWith(t, 'PEER_UNREACHABLE', asker.send(new Uint8Array(1)))
})
