/** The target's agent dies by SIGKILL in every state, and comes back: it goes on, or leaves nothing. Never two running. */
import ava, { type ExecutionContext } from 'ava'
import type { Handover, RelocationRequest } from '../../../agent/conduit/target.ts'
import { eventually } from '../../helpers/eventually.ts'
import { grantor, openStage, verdictOf, type RelocationStage } from '../../helpers/relocation-stage.ts'

const test = process.platform === 'linux' ? ava.serial : ava.skip

/** Starts over with an agent that dies at `point`, hands over, and waits for its death. */
async function dieAt(t: ExecutionContext, point: string, end?: 'commit' | 'abort') {
  const stage = await openStage(t)
  const request = stage.request('web')
  const handover = await stage.fill(request)
  await stage.target.stop()
  await stage.target.start({ FLUIDCLOUD_CRASH_AT: point })
  const grants = grantor()
  const target = await stage.open(request)
  const talking = (async () => {
    await verdictOf(target.start(handover, grants))
    if (end === 'commit') await target.commit()
    if (end === 'abort') await target.abort('back')
  })()
  talking.catch(() => {})
  await stage.target.died()
  await talking.catch(() => {})
  return { stage, request, handover, grants }
}

/** What the source waits for before it lets the machine run again: then the target surely does not. */
async function heldInTime(t: ExecutionContext, { cloud }: RelocationStage, until: number): Promise<void> {
  await eventually(() => performance.now() > until || undefined)
  const state = await cloud.state('web').catch(() => 'gone')
  t.not(state, 'running')
}

async function goesOn(
  t: ExecutionContext,
  stage: RelocationStage,
  { request, handover }: { request: RelocationRequest; handover: Handover },
): Promise<void> {
  await using target = await stage.open(request)
  t.true((await verdictOf(target.start(handover, grantor()))).healthy)
  await target.commit()
  t.true(await stage.runs('web'))
  t.is(await target.inquire(), 'committed')
}

for (const point of ['target-adapting', 'target-adapted', 'target-registered', 'target-started'])
  test(`killed at ${point}, the target goes on where it was when its source comes back`, async (t) => {
    const { stage, grants, ...rest } = await dieAt(t, point)
    await heldInTime(t, stage, grants.until)
    await stage.target.start()
    await goesOn(t, stage, rest)
  })

for (const point of ['target-adapted', 'target-started'])
  test(`killed at ${point}, the target leaves nothing when its source goes back`, async (t) => {
    const { stage, request } = await dieAt(t, point)
    await stage.target.start()
    await using target = await stage.open(request)
    await target.abort('back')
    t.deepEqual(await stage.leftovers(), [])
  })

test('killed after its verdict, the target is suspended until the commit comes', async (t) => {
  const { stage, request, grants } = await dieAt(t, 'target-healthy')
  await heldInTime(t, stage, grants.until)
  await stage.target.start()
  t.not(await stage.cloud.state('web'), 'running')
  await using target = await stage.open(request)
  t.is(await target.inquire(), 'suspended')
  await target.commit()
  t.true(await stage.runs('web'))
})

test('killed as it commits, the target runs the service for good when it is back', async (t) => {
  const { stage, request, grants } = await dieAt(t, 'target-committed', 'commit')
  await heldInTime(t, stage, grants.until)
  await stage.target.start()
  await stage.stateIs('web', 'running')
  await using target = await stage.open(request)
  t.is(await target.inquire(), 'committed')
  await target.commit()
  await target.finalize()
  t.true(await stage.runs('web'))
})

test('killed as it lets a machine go that was held, the target runs it for good when it is back', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web')
  const handover = await stage.fill(request)
  await stage.target.stop()
  await stage.target.start({ FLUIDCLOUD_CRASH_AT: 'target-let-go' })
  const grants = grantor()
  const target = await stage.open(request)
  t.true((await verdictOf(target.start(handover, grants))).healthy)
  grants.open = false
  await stage.isHeld('web')
  const committing = target.commit().catch(() => {})
  await stage.target.died()
  await committing
  t.not(await stage.cloud.state('web'), 'running')
  await stage.target.start()
  await stage.stateIs('web', 'running')
  await using again = await stage.open(request)
  await again.commit()
  t.true(await stage.runs('web'))
})

for (const point of ['target-releasing', 'target-clearing']) {
  test(`killed at ${point}, the target leaves nothing when it is back, whether its source comes or not`, async (t) => {
    const { stage, request } = await dieAt(t, point, 'abort')
    await stage.target.start()
    await eventually(async () => (await stage.leftovers()).length === 0 || undefined)
    await using target = await stage.open(request)
    await target.abort('back')
    t.is(await target.inquire(), 'released')
  })
}

test('killed while disks move to it, the target has kept their names', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web')
  const handover = await stage.fill(request)
  await stage.target.kill()
  await stage.target.start()
  const other = stage.request('web')
  await using second = await stage.open(other)
  t.like(await second.prepare(other, { dry: true }), { accepted: false })
  await goesOn(t, stage, { request, handover })
})

test('a target that is stopped in order holds what runs on leases first', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web')
  const handover = await stage.fill(request)
  const target = await stage.open(request)
  await verdictOf(target.start(handover, grantor()))
  await stage.target.stop()
  t.not(await stage.cloud.state('web'), 'running')
})
