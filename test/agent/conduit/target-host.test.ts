import ava from 'ava'
import { grantor, openStage, verdictOf } from '../../helpers/relocation-stage.ts'
import type { TargetEvent } from '../../../agent/conduit/target.ts'

// Each test has agents and services of its own: all at once they would only be in each other's way.
const test = process.platform === 'linux' ? ava.serial : ava.skip

test('a service is prepared, moved, handed over, started on leases, committed and finalized', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web')
  const handover = await stage.fill(request)
  await using target = await stage.open(request)
  t.is(await target.inquire(), 'prepared')
  const heard: TargetEvent[] = []
  const grants = grantor()
  const verdict = await verdictOf(target.start(handover, grants), heard)
  t.true(verdict.healthy)
  t.deepEqual(
    [...new Set(heard.flatMap((event) => (event.kind === 'progress' ? [event.stage] : [])))],
    ['registering', 'starting', 'checking'].toSpliced(0, 0, 'adapting'),
  )
  t.is(await target.inquire(), 'healthy')
  t.true(await stage.runs('web'))
  t.true(grants.grants > 0 && grants.until > performance.now())
  await target.commit()
  t.is(await target.inquire(), 'committed')
  t.true(await stage.runs('web'))
  await target.finalize()
  t.is(await target.inquire(), 'unknown')
  t.true(await stage.runs('web'))
  await t.throwsAsync(target.abort('too late'), { code: 'JOB_STATE' })
  t.deepEqual([...stage.evidence].toSorted(), ['final', 'outcome', 'pledge', 'plan'].toSorted())
})
