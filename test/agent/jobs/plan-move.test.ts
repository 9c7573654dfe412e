import { randomBytes } from 'node:crypto'
import test from 'ava'
import { planMove } from '../../../agent/jobs/plan-move.ts'
import type { JobParts } from '../../../agent/job-parts.ts'
import { formatPlan } from '../../../agent/output/plan-text.ts'
import { createStyle } from '../../../agent/output/style.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { answerAttempts, type Attempt } from '../../helpers/rogue-receiver.ts'
import type { RoguePeer } from '../../helpers/rogue-peer.ts'
import { openVictim, type Victim } from '../../helpers/victim.ts'

let victim: Victim
let rogue: RoguePeer
let source: string
test.before(async () => {
  victim = await openVictim()
  rogue = await victim.rogue()
  source = await victim.file('planned.raw', randomBytes(100_000))
})
test.after.always(() => victim[Symbol.asyncDispose]())

const spec = () => ({ source, peer: rogue.peerId, destination: 'planned.raw' })

/** The plan of a move to a receiver that answers by `act`. */
async function planTo(act: (attempt: Attempt) => Promise<void>, changes = {}) {
  await using _answering = await answerAttempts(rogue, act)
  return await victim.agent.api.plan({ ...spec(), ...changes })
}

test.serial(
  'planMove() offers a dry run without an endpoint, and gives what the receiver agrees to',
  async (t) => {
    const offers: Attempt['offer'][] = []
    const report = await planTo(
      async ({ offer, agree }) => {
        offers.push(offer)
        await agree({ replacesExisting: true, freeBytes: 12345 })
      },
      { lanes: 3, replace: true },
    )
    t.like(report, {
      feasible: true,
      source,
      sourceFormat: 'raw',
      logicalBytes: 100_000,
      replacesExisting: true,
      freeBytes: 12345,
      lanes: 3,
      needsApproval: false,
      warnings: [],
      reasons: [],
    })
    t.like(offers[0], { dryRun: true, endpoint: undefined, replace: true, sizeBytes: 100_000 })
    t.deepEqual(await victim.agent.api.jobs(), [], 'Nothing is kept')
  },
)

test.serial(
  'planMove() says of a target where nothing can be written what to do before anything is begun',
  async (t) => {
    const { reasons } = await planTo(async ({ talk }) => {
      talk.send({
        kind: 'refusal',
        reasons: [{ code: 'TARGET_WRITE', message: 'Nothing can be written there' }],
      })
    })
    t.like(reasons[0], { code: 'TARGET_WRITE' })
    t.regex(reasons[0].hint, /let the agent there write into the granted folder/)
  },
)

test.serial('planMove() tells that a person will be asked', async (t) => {
  const report = await planTo(async ({ talk, agree }) => {
    talk.send({ kind: 'pending', reason: 'ask first' })
    await agree()
  })
  t.true(report.needsApproval)
  t.true(report.feasible)
})

test.serial('planMove() gives every reason of a refusal, in its order', async (t) => {
  const report = await planTo(async ({ talk }) => {
    talk.send({
      kind: 'refusal',
      reasons: [
        { code: 'TOO_LARGE', message: 'Too large' },
        { code: 'NAME_EXISTS', message: 'It exists' },
      ],
    })
  })
  t.false(report.feasible)
  t.deepEqual(
    report.reasons.map(({ code, message, exit }) => [code, message, exit]),
    [
      ['TOO_LARGE', 'Too large', 4],
      ['NAME_EXISTS', 'It exists', 7],
    ],
  )
})

test.serial('planMove() reports a receiver that breaks the protocol as a reason', async (t) => {
  const report = await planTo(async ({ talk }) => talk.send({ kind: 'committed', ranges: [], more: false }))
  t.deepEqual(
    report.reasons.map(({ code }) => code),
    ['PROTOCOL_VIOLATION'],
  )
})

test.serial('planMove() asks nobody when there is no source', async (t) => {
  let asked = 0
  const report = await planTo(async () => void asked++, { source: '/none' })
  t.is(asked, 0)
  t.like(report, { feasible: false, sourceFormat: 'unknown', logicalBytes: 0 })
  t.deepEqual(
    report.reasons.map(({ code }) => code),
    ['SOURCE_MISSING'],
  )
})

test.serial('planMove() throws when it is aborted, and blames nobody', async (t) => {
  const reason = new FluidError('INTERRUPTED', 'Left')
  const options = { verifyDeep: false, replace: false, format: 'raw', compression: 'auto' } as const
  const plan = planMove({} as JobParts, spec(), rogue.peerId, options, AbortSignal.abort(reason))
  t.is(await t.throwsAsync(plan), reason)
})

test.serial('formatPlan() shows a warning', async (t) => {
  const style = createStyle({ color: false, unicode: false })
  const report = await planTo(({ agree }) => agree())
  t.true(formatPlan({ ...report, warnings: ['Beware of the dog'] }, style).includes('! Beware of the dog\n'))
})
