/** The line between two clouds dies in the cut-over, or its other end does: the service runs here again, and there is cleaned. */
import { readdir } from 'node:fs/promises'
import ava, { type ExecutionContext } from 'ava'
import { eventually } from '../helpers/eventually.ts'
import { startLinedPair, type Line } from '../helpers/lined-pair.ts'
import {
  answers,
  startRelocationPair,
  untilRelocation,
  untilState,
  type RelocationPair,
} from '../helpers/relocation-pair.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

/** A service that runs there on a lease, and fails its checks, so that it stays in between. */
async function startedThere(t: ExecutionContext): Promise<{ pair: RelocationPair; line: Line; job: string }> {
  t.timeout(120_000)
  let line: Line | undefined
  const pair = await startRelocationPair(t, {
    pairOf: async (owner) => {
      const lined = await startLinedPair(owner)
      line = lined.line
      return lined
    },
  })
  await pair.service.record(1)
  await pair.service.sicken('web-there')
  const job = await pair.begin()
  await untilState(pair.alpine, job, 'verifying')
  t.is(await pair.there.state('web-there'), 'running')
  return { pair, line: line!, job }
}

/** It serves here before anything is known of there; then there is cleaned. */
async function runsHereAgain(
  t: ExecutionContext,
  { pair, job }: { pair: RelocationPair; job: string },
  mend: () => void,
): Promise<void> {
  const { alpine, service, here, there, boreal } = pair
  const begun = performance.now()
  const decided = await untilRelocation(alpine, job, ({ state }) => state === 'rolling-back')
  const decidedAt = performance.now()
  await eventually(() =>
    fetch(service.urls[0]).then(
      ({ ok }) => ok || undefined,
      () => undefined,
    ),
  )
  const servingAt = performance.now()
  t.deepEqual(await answers(service), [1])
  t.log(
    JSON.stringify({
      verdictMs: Math.round(decidedAt - begun),
      verdictToServingMs: Math.round(servingAt - decidedAt),
    }),
  )
  t.is(await here.state('web'), 'running')
  t.true(['TIMEOUT', 'PEER_UNREACHABLE'].includes(decided.error?.code ?? ''), JSON.stringify(decided.error))
  t.not(await there.state('web-there'), 'running', 'Its guard holds it')
  await service.record(2)
  mend()
  await untilState(alpine, job, 'rolled-back')
  t.deepEqual(await answers(service), [1, 2])
  t.deepEqual(await there.machines(), [])
  const files = await readdir(boreal.home.imports, { recursive: true, withFileTypes: true })
  t.deepEqual(
    files.filter((entry) => entry.isFile()).map(({ name }) => name),
    [],
  )
  t.false(await service.ranTwice())
}

test('a line that goes dead in the cut-over gives the service back when the last lease has ended', async (t) => {
  const { pair, line, job } = await startedThere(t)
  line.goDead()
  await runsHereAgain(t, { pair, job }, () => line.mend())
})

test('a line that is cut in the cut-over gives the service back when the last lease has ended', async (t) => {
  const { pair, line, job } = await startedThere(t)
  line.cut()
  await runsHereAgain(t, { pair, job }, () => line.mend())
})

test('a target that stands still gives the service back, and cleans up when it goes on', async (t) => {
  const { pair, job } = await startedThere(t)
  pair.boreal.freeze()
  t.teardown(() => pair.boreal.thaw())
  await runsHereAgain(t, { pair, job }, () => pair.boreal.thaw())
})
