/** `bench` between real agents: it measures, and leaves nothing on either side. */
import { readdir } from 'node:fs/promises'
import ava from 'ava'
import { VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import { startAgent, startPair } from '../helpers/agent-process.ts'
import { startRogue, talkOver } from '../helpers/rogue-peer.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

test('bench measures the path and leaves nothing on either side', async (t) => {
  const { alpine, boreal } = await startPair(t)
  for (const bytes of [1, 100_000_001]) {
    const report = await alpine.tell('bench', 'boreal', '--size', `${bytes}`, '--streams', '3')
    t.like(report, { v: 1, type: 'bench', bytes, lanes: 3, path: 'tls' })
    t.true(report.seconds > 0 && report.roundTripMs > 0)
    t.is(report.bytesPerSecond, Math.round(bytes / report.seconds))
    t.true(report.cpuSecondsPerGiB > 0 && report.peerCpuSecondsPerGiB > 0)
  }
  for (const agent of [alpine, boreal]) t.deepEqual(await agent.jobs(), [])
  t.deepEqual(await readdir(boreal.home.imports), [])
  t.deepEqual(await boreal.openFiles(boreal.home.imports), [])
})

test('bench is refused by a peer that granted nothing', async (t) => {
  const { boreal } = await startPair(t)
  const { exit, lines } = await boreal.run('bench', 'alpine', '--size', '1MiB')
  t.is(exit, 4)
  t.like(lines.at(-1), { type: 'error', code: 'POLICY_DENIED' })
})

test('bench asks no person, and minds no limit of the grant', async (t) => {
  const { alpine, boreal } = await startPair(t, { ticket: ['--approve', 'ask', '--max', '1MiB'] })
  t.is((await alpine.tell('bench', 'boreal', '--size', '8MiB')).bytes, 8 * 2 ** 20)
  t.deepEqual(await boreal.jobs(), [])
})

test('bench runs once at a time for each peer, and again afterwards', async (t) => {
  const { alpine } = await startPair(t)
  const outcomes = await Promise.all([1, 2].map(() => alpine.run('bench', 'boreal', '--size', '512MiB')))
  t.deepEqual(
    outcomes.map(({ exit }) => exit).toSorted((a, b) => a - b),
    [0, 7],
  )
  t.like(outcomes.find(({ exit }) => exit === 7)?.lines.at(-1), { code: 'NAME_BUSY' })
  t.is((await alpine.run('bench', 'boreal', '--size', '1MiB')).exit, 0)
})

test('bench refuses more than the limit', async (t) => {
  const { alpine } = await startPair(t)
  for (const size of ['0', '65GiB']) t.is((await alpine.run('bench', 'boreal', '--size', size)).exit, 2, size)
})

test('bench says so when the peer is too old to know it', async (t) => {
  const agent = await startAgent(t, 'alpine')
  const { addrs } = await agent.tell('id')
  await using old = await startRogue(addrs[0])
  const { ticket } = await agent.tell('pair', 'ticket')
  await old.redeem(ticket)
  await old.node.handle('/ipfs/ping/1.0.0', async (stream) => {
    for await (const bytes of stream) stream.send(bytes)
  })
  let destination: string | undefined
  await old.node.handle(VIADUCT_PROTOCOL, async (stream) => {
    const talk = talkOver(stream)
    const hello = await talk.hear('hello')
    talk.send({ ...hello, minor: 0 })
    const offer = await talk.hear('offer')
    destination = offer.destination
    talk.send({ kind: 'refusal', reasons: [{ code: 'NAME_INVALID', message: 'It begins with a dot' }] })
  })
  const { exit, lines } = await agent.run('bench', old.peerId, '--size', '1MiB')
  t.is(exit, 7)
  t.like(lines.at(-1), { code: 'VERSION_UNSUPPORTED' })
  t.is(destination, '.bench')
})
