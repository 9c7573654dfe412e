/** A source that holds a stream with heartbeats alone, or says nothing at all. */
import test from 'ava'
import { pino } from 'pino'
import { createRefusals } from '../../agent/mesh/refusals.ts'
import { serveRelocations } from '../../agent/conduit/target-host.ts'
import { openRelocationStream } from '../../agent/conduit/target-stream.ts'
import { openMeshPair } from '../helpers/mesh-pair.ts'

type Handler = (stream: unknown, connection: unknown) => void

test('a stream on which only heartbeats come is ended and counted', async (t) => {
  await using pair = await openMeshPair()
  const refusals = createRefusals()
  let handler: Handler = () => {}
  const mesh = {
    node: { handle: async (_: string, given: Handler) => void (handler = given), unhandle: async () => {} },
    connectionPolicy: { pairedOnly: (given: Handler) => given },
    policy: { grantFor: () => undefined },
    refusals,
  }
  const parts = { identity: { peerId: 'me' }, log: pino({ level: 'silent' }) }
  await using _served = await serveRelocations({
    mesh: mesh as never,
    parts: parts as never,
    arrivals: {} as never,
    idleTimeoutMs: 400,
  })
  const { opened, received } = await pair.openStream()
  handler(received, { remotePeer: 'peer' })
  await using source = openRelocationStream(opened, { peer: 'target', silenceTimeoutMs: 2_000 })
  const beating = setInterval(() => void source.send(0, { kind: 'heartbeat' }).catch(() => {}), 50)
  await t.throwsAsync(source.frames().next(), { code: 'PEER_UNREACHABLE' })
  clearInterval(beating)
  t.is(refusals.snapshot()['relocation-idle'], 1)
})

test('a stream on which nothing comes is ended', async (t) => {
  await using pair = await openMeshPair()
  const { opened, received } = await pair.openStream()
  await using stream = openRelocationStream(received, { peer: 'source', silenceTimeoutMs: 200 })
  await t.throwsAsync(stream.frames().next(), { code: 'TIMEOUT' })
  opened.abort(new Error('over'))
})
