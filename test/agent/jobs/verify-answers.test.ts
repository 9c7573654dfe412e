import test from 'ava'
import type { ControlStream } from '../../../agent/viaduct/control-stream.ts'
import type { Job } from '../../../agent/jobs/job.ts'
import type { JobParts } from '../../../agent/job-parts.ts'
import { createRefusals } from '../../../agent/mesh/refusals.ts'
import { createVerifyAnswers } from '../../../agent/jobs/verify-answers.ts'
import type { ControlMessage } from '../../../protocol/control-message.ts'

const JOB = Buffer.alloc(16, 1)
const request = { kind: 'verify-request', job: JOB, deep: false } as const

/** Answers about one job of `a`, whose readings end when the test says so. */
function answering(bounds = { verifiesPerMinute: 10, verifiesWaiting: 1 }) {
  const readings: PromiseWithResolvers<void>[] = []
  const refusals = createRefusals()
  const grants = new Set(['a'])
  const mesh = { refusals, policy: { grantFor: (peer: string) => grants.has(peer) || undefined } }
  const job = { record: { peer: 'a', direction: 'in' } } as Job
  const answers = createVerifyAnswers({ bounds, mesh, log: { info() {} } } as unknown as JobParts, {
    find: (id) => (id === JOB.toString('hex') ? job : undefined),
    async readAgain() {
      const reading = Promise.withResolvers<void>()
      readings.push(reading)
      await reading.promise
      return { root: new Uint8Array(32), checkedBytes: 7 }
    },
  })
  /** What is said in answer to one request. */
  const ask = async (peer = 'a', signal = new AbortController().signal): Promise<unknown> => {
    const said: ControlMessage[] = []
    const send = async (message: ControlMessage) => void said.push(message)
    await answers.answer({ peer, signal, send } as unknown as ControlStream, request)
    const [message] = said as unknown as { error?: { code: string }; checkedBytes: number }[]
    return message.error?.code ?? message.checkedBytes
  }
  return { ask, readings, refusals, grants }
}

const turn = () => new Promise(setImmediate)

test('createVerifyAnswers() reads for one request of a peer at a time, in their order', async (t) => {
  const { ask, readings } = answering()
  const [first, second] = [ask(), ask()]
  await turn()
  t.is(readings.length, 1)
  readings[0].resolve()
  t.is(await first, 7)
  await turn()
  t.is(readings.length, 2)
  readings[1].resolve()
  t.is(await second, 7)
})

test('createVerifyAnswers() refuses what would wait behind too many, and counts it', async (t) => {
  const { ask, readings, refusals } = answering()
  const waiting = [ask(), ask()]
  t.is(await ask(), 'LIMIT_EXCEEDED')
  t.deepEqual(refusals.snapshot(), { verify: 1 })
  await turn()
  readings[0].resolve()
  await turn()
  readings[1].resolve()
  t.deepEqual(await Promise.all(waiting), [7, 7])
})

test('createVerifyAnswers() takes so many requests in a minute', async (t) => {
  const { ask, readings } = answering({ verifiesPerMinute: 2, verifiesWaiting: 1 })
  for (const i of [0, 1]) {
    const answer = ask()
    await turn()
    readings[i].resolve()
    t.is(await answer, 7)
  }
  t.is(await ask(), 'LIMIT_EXCEEDED')
  t.is(readings.length, 2)
})

test('createVerifyAnswers() goes on behind a reading that failed', async (t) => {
  const { ask, readings } = answering()
  const [first, second] = [ask(), ask()]
  await turn()
  readings[0].reject(new Error('disk'))
  t.is(await first, 'UNEXPECTED')
  await turn()
  readings[1].resolve()
  t.is(await second, 7)
})

test('createVerifyAnswers() reads nothing for who went away, or lost its grant, while it waited', async (t) => {
  const { ask, readings, grants } = answering({ verifiesPerMinute: 10, verifiesWaiting: 2 })
  const gone = new AbortController()
  const answers = [ask(), ask('a', gone.signal), ask()]
  await turn()
  gone.abort()
  grants.delete('a')
  readings[0].resolve()
  const [first, , third] = await Promise.all(answers)
  t.is(first, 7)
  t.is(third, 'POLICY_DENIED')
  t.is(readings.length, 1)
})

test('createVerifyAnswers() knows only the jobs of the peer that asks', async (t) => {
  const { ask, readings, refusals } = answering()
  t.is(await ask('b'), 'JOB_UNKNOWN')
  t.is(readings.length, 0)
  t.deepEqual(refusals.snapshot(), {})
})
