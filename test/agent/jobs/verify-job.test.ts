import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import test from 'ava'
import type { ControlMessage } from '../../../protocol/control-message.ts'
import { VIADUCT_PROTOCOL } from '../../../protocol/ids.ts'
import { parseRoot } from '../../../protocol/manifest.ts'
import { eventually } from '../../helpers/eventually.ts'
import { answerAttempts } from '../../helpers/rogue-receiver.ts'
import { talkOver, type RoguePeer } from '../../helpers/rogue-peer.ts'
import { HELLO } from '../../helpers/rogue-sender.ts'
import { openVictim, type Victim } from '../../helpers/victim.ts'

const bytes = randomBytes(100_000)
let victim: Victim
let rogue: RoguePeer
let source: string
let job: string
let root: string

/** A job that was sent to the rogue, soundly. */
test.before(async () => {
  victim = await openVictim()
  rogue = await victim.rogue()
  source = await victim.file('sent.raw', bytes)
  await using _answering = await answerAttempts(rogue, async ({ begin, pretend, talk, receipt }) => {
    await begin()
    const entries = await pretend()
    await talk.hear('complete')
    await receipt(entries)
    await talk.hear('receipt')
    talk.abort()
  })
  const moved = await victim.agent.api.move({ source, peer: rogue.peerId, destination: 'sent.raw', lanes: 1 })
  job = moved.job
  root = await eventually(async () => {
    const report = await victim.job(job)
    return report?.state === 'complete' ? report.root : undefined
  })
})
test.after.always(() => victim[Symbol.asyncDispose]())

/** What `verify` reports when the peer answers so. */
async function verifying(answer: ControlMessage | undefined, deep = false) {
  const asked: ControlMessage[] = []
  await rogue.node.handle(VIADUCT_PROTOCOL, async (stream) => {
    const talk = talkOver(stream)
    await talk.hear('hello')
    talk.send({ kind: 'hello', ...HELLO })
    asked.push(await talk.hear('verify-request'))
    if (answer) talk.send(answer)
    else talk.abort()
  })
  try {
    return { report: await victim.agent.api.verify({ job, deep }), asked }
  } finally {
    await rogue.node.unhandle(VIADUCT_PROTOCOL)
  }
}

const same = (): ControlMessage => ({
  kind: 'verify-result',
  root: parseRoot(root),
  checkedBytes: bytes.length,
})

test.serial('verifyJob() reads both ends, and finds them the same', async (t) => {
  const { report, asked } = await verifying(same(), true)
  t.like(report, { job, match: true, sourceRoot: root, targetRoot: root, deep: true, reasons: [] })
  t.is(report.checkedBytes, 2 * bytes.length)
  t.like(asked[0], { kind: 'verify-request', job: Uint8Array.from(Buffer.from(job, 'hex')), deep: true })
})

test.serial('verifyJob() says VERIFY_MISMATCH when the roots differ', async (t) => {
  const { report } = await verifying({ kind: 'verify-result', root: new Uint8Array(32), checkedBytes: 1 })
  t.like(report, { match: false, sourceRoot: root, targetRoot: `b3:${'00'.repeat(32)}` })
  t.deepEqual(
    report.reasons.map(({ code }) => code),
    ['VERIFY_MISMATCH'],
  )
})

test.serial('verifyJob() gives the reason of a peer that could not read', async (t) => {
  const error = { code: 'SOURCE_READ', message: 'Bad sector' } as const
  const { report } = await verifying({ kind: 'verify-result', checkedBytes: 0, error })
  t.like(report, { match: false, sourceRoot: root, targetRoot: undefined })
  t.deepEqual(
    report.reasons.map(({ code, message }) => [code, message]),
    [['SOURCE_READ', 'Bad sector']],
  )
})

test.serial('verifyJob() does not find a file that has grown the same', async (t) => {
  await writeFile(source, Buffer.concat([bytes, Buffer.of(0)]))
  try {
    const { report } = await verifying(same())
    t.false(report.match)
    t.deepEqual(
      report.reasons.map(({ code }) => code),
      ['VERIFY_MISMATCH'],
    )
  } finally {
    await writeFile(source, bytes)
  }
})

test.serial('verifyJob() reports a peer that hangs up', async (t) => {
  const { report } = await verifying(undefined)
  t.false(report.match)
  t.deepEqual(
    report.reasons.map(({ code }) => code),
    ['PEER_UNREACHABLE'],
  )
})

test.serial('verifyJob() gives reasons of both ends', async (t) => {
  await writeFile(source, bytes.subarray(1))
  try {
    const { report } = await verifying(undefined)
    t.deepEqual(report.reasons.map(({ code }) => code).toSorted(), ['PEER_UNREACHABLE', 'VERIFY_MISMATCH'])
    t.like(report, { match: false, sourceRoot: undefined, targetRoot: undefined, checkedBytes: 0 })
  } finally {
    await writeFile(source, bytes)
  }
})
