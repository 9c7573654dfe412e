/** What is left after a move to prove it: receipts on both sides, and verification that notices one changed byte. */
import { open } from 'node:fs/promises'
import ava from 'ava'
import type { JobRecord } from '../../agent/jobs/job-record.ts'
import { openStateStore } from '../../agent/state-store.ts'
import { startPair, type AgentPair, type AgentProcess } from '../helpers/agent-process.ts'
import { eventually } from '../helpers/eventually.ts'
import { MiB, noise, overwrite, writeVolume } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

const SIZE_BYTES = 24 * MiB

async function movedVolume(pair: AgentPair) {
  await writeVolume(pair.source('disk.raw'), SIZE_BYTES, [{ offset: 4 * MiB, bytes: noise(8 * MiB, 1) }])
  return await pair.alpine.tell('move', pair.source('disk.raw'), 'boreal:disk.raw')
}

test('receipt is the same on both sides, with both signatures', async (t) => {
  const pair = await startPair(t)
  const { job, root } = await movedVolume(pair)
  const [ours, theirs] = await Promise.all([
    pair.alpine.tell('receipt', job),
    pair.boreal.tell('receipt', job),
  ])
  const [sender, receiver] = await Promise.all([pair.alpine.tell('id'), pair.boreal.tell('id')])
  t.like(ours, {
    v: 1,
    type: 'receipt',
    job,
    root,
    sender: sender.peerId,
    receiver: receiver.peerId,
    destination: 'disk.raw',
    logicalBytes: SIZE_BYTES,
    dataBytes: 8 * MiB,
    zeroBytes: 16 * MiB,
    sentBytes: 8 * MiB,
    resumedBytes: 0,
    path: 'tls',
    verifiedDeep: false,
    signaturesValid: true,
  })
  const { bytesByPath: _ours, ...shared } = ours
  const { bytesByPath: _theirs, ...same } = theirs
  t.deepEqual(same, shared)
  t.not(ours.senderSignature, ours.receiverSignature)
})

test('verify matches on both sides, from memory and from disk', async (t) => {
  const pair = await startPair(t)
  const { job, root } = await movedVolume(pair)
  for (const agent of [pair.alpine, pair.boreal]) {
    for (const options of [[], ['--deep']]) {
      const report = await agent.tell('verify', job, ...options)
      t.like(report, { v: 1, type: 'verify', job, match: true, root, sourceRoot: root, targetRoot: root })
      t.is(report.deep, options.length > 0)
    }
  }
})

for (const [what, offset] of [
  ['a byte of data', 5 * MiB],
  ['a byte in a hole', 20 * MiB],
] as const) {
  test(`verify exits 6 when ${what} changed at the target`, async (t) => {
    const pair = await startPair(t)
    const { job, root } = await movedVolume(pair)
    await using copy = await open(pair.at('disk.raw'), 'r+')
    const byte = Buffer.alloc(1)
    await copy.read(byte, 0, 1, offset)
    await overwrite(pair.at('disk.raw'), [{ offset, bytes: Buffer.of(byte[0] ^ 1) }])
    for (const [agent, ...options] of [[pair.alpine], [pair.alpine, '--deep'], [pair.boreal]] as const) {
      const { exit, lines } = await agent.run('verify', job, ...options)
      t.is(exit, 6)
      t.like(lines[0], { type: 'verify', match: false, sourceRoot: root, root: null })
      t.like(lines[1], { type: 'error', code: 'VERIFY_MISMATCH', exit: 6 })
    }
  })
}

test('verify and receipt refuse a job that is not complete, and one that does not exist', async (t) => {
  const pair = await startPair(t)
  await writeVolume(pair.source('disk.raw'), SIZE_BYTES, [{ offset: 0, bytes: noise(8 * MiB, 1) }])
  const job = await pair.alpine.begin(pair.source('disk.raw'), 'boreal:disk.raw', '--bwlimit', '1MiB/s')
  await pair.alpine.until(job, ({ state }) => state === 'running')
  for (const verb of ['verify', 'receipt']) {
    const { exit, lines } = await pair.alpine.run(verb, job)
    t.is(exit, 2, verb)
    t.is(lines.length, 1, verb)
    t.like(lines[0], { type: 'error', code: 'JOB_STATE' })
    const unknown = await pair.alpine.run(verb, 'ffffffffffffffffffffffffffffffff')
    t.is(unknown.exit, 2, verb)
    t.like(unknown.lines.at(-1), { type: 'error', code: 'JOB_UNKNOWN' })
  }
})

/** Changes what an agent that does not run remembers of a job. */
async function remember(agent: AgentProcess, job: string, change: (record: JobRecord) => JobRecord) {
  await using store = await openStateStore(agent.home.state)
  const jobs = store.table<JobRecord>('jobs')
  await jobs.put(job, change(jobs.get(job)!))
}

test('a receiver that lacks the sender’s signature is given it when the sender starts again', async (t) => {
  const pair = await startPair(t)
  const { job } = await movedVolume(pair)
  const signed = await pair.alpine.tell('receipt', job)
  await Promise.all([pair.alpine.stop(), pair.boreal.stop()])
  // As it is when the line breaks behind the receiver's signature.
  await remember(pair.alpine, job, (record) => ({ ...record, untold: true }))
  await remember(pair.boreal, job, (record) => ({
    ...record,
    receipt: { ...record.receipt!, senderSignature: '' },
  }))
  await pair.boreal.start()
  t.is((await pair.boreal.run('receipt', job)).exit, 6)
  await pair.alpine.start()
  const { bytesByPath: _, ...given } = await eventually(async () => {
    const { exit, lines } = await pair.boreal.run('receipt', job)
    return exit === 0 ? lines[0] : undefined
  })
  const { bytesByPath: __, ...kept } = signed
  t.deepEqual(given, kept)
  t.like(await pair.alpine.tell('verify', job), { match: true })
  await pair.alpine.stop()
  await using store = await openStateStore(pair.alpine.home.state)
  t.like(store.table<JobRecord>('jobs').get(job), { state: 'complete', untold: undefined })
})
