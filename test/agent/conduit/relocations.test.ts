import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import type { Relocations } from '../../../agent/conduit/relocations.ts'
import type { RelocationState } from '../../../agent/conduit/relocation-state.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { collect } from '../../helpers/collect.ts'
import { eventually } from '../../helpers/eventually.ts'
import { HEALTHY, ID, memoryCloud, memoryTable, openScripted, recordOf, UNHEALTHY } from './scripted.ts'

/** Resolves when it is there, and everything of that state was done; ava's timeout ends a wait in vain. */
async function until(relocations: Relocations, state: RelocationState): Promise<void> {
  const relocation = relocations.get(ID)
  while (relocation.record.state !== state || (state === 'live' && !relocation.record.committed)) {
    await new Promise<void>((resolve) => {
      const watch = relocation.watch(() => {
        watch[Symbol.dispose]()
        resolve()
      })
    })
  }
}

/** Never ends, but when aborted. */
const forever = (signal: AbortSignal) =>
  new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  )

test('a live relocation pauses the machine for the last round only, commits, and leaves it paused', async (t) => {
  const { relocations, cloud, target, carrier } = await openScripted()
  await relocations.begin(recordOf())
  await until(relocations, 'live')
  t.deepEqual(cloud.did, ['snapshot while running', 'pause', 'snapshot while paused'])
  t.deepEqual(target.did, ['prepare', 'start', 'commit'])
  t.deepEqual(
    carrier.rounds.map(({ last }) => last),
    [false, true],
  )
  const report = relocations.list()[0]
  t.is(cloud.state.web, 'paused')
  t.deepEqual(report.roots, [{ machine: 'web', disk: 'vda', root: `b3:${'cd'.repeat(32)}` }])
  t.is(report.changes.length, 1)
  t.is(report.startToHealthySeconds, 0.07)
  t.true(report.downtimeSeconds! >= 0)
})

test('a cold relocation shuts the machine down before anything moves', async (t) => {
  const { relocations, cloud, carrier } = await openScripted()
  await relocations.begin(recordOf({ live: false }))
  await until(relocations, 'live')
  t.deepEqual(cloud.did, ['stop', 'snapshot while stopped'])
  t.deepEqual(
    carrier.rounds.map(({ last }) => last),
    [true],
  )
})

test('finalize removes the machine here, then has the target forget it', async (t) => {
  const { relocations, cloud, target } = await openScripted()
  await relocations.begin(recordOf())
  await until(relocations, 'live')
  await relocations.finalize(ID)
  await until(relocations, 'finalized')
  t.false(cloud.state.exists)
  t.deepEqual(target.did.slice(-1), ['finalize'])
  await t.throwsAsync(relocations.rollBack(ID), { message: /finalized and cannot be taken back/ })
})

test('finalize that waits for the target leaves a new machine of the same name alone', async (t) => {
  const { relocations, cloud, target } = await openScripted()
  const { record } = await relocations.begin(recordOf())
  await until(relocations, 'live')
  target.plan.reachable = false
  await relocations.finalize(ID)
  while (record.error?.code !== 'PEER_UNREACHABLE') await delay(5)
  t.false(cloud.state.exists)
  Object.assign(cloud.state, { exists: true, web: 'running' })
  cloud.did.length = 0
  target.plan.reachable = true
  await until(relocations, 'finalized')
  t.deepEqual(cloud.did, [])
  t.true(cloud.state.exists)
})

test('finalize leaves a machine alone that runs here, and goes on once it is stopped', async (t) => {
  const { relocations, cloud } = await openScripted()
  await relocations.begin(recordOf())
  await until(relocations, 'live')
  await eventually(() => relocations.get(ID).record.committed)
  cloud.state.web = 'running'
  const before = cloud.did.length
  await relocations.finalize(ID)
  await eventually(
    () => relocations.list()[0].error?.message === 'web runs here, and is not removed' || undefined,
  )
  t.deepEqual(cloud.did.slice(before), [])
  cloud.state.web = 'stopped'
  await until(relocations, 'finalized')
  t.true(cloud.did.some((what) => what.startsWith('undefine')))
})

test('finalize leaves another machine alone that was made under the name since, and goes on without it', async (t) => {
  const { relocations, cloud, target } = await openScripted()
  await relocations.begin(recordOf())
  await until(relocations, 'live')
  cloud.state.web = 'stopped'
  cloud.state.marks = ['file-1-3']
  const before = cloud.did.length
  await relocations.finalize(ID)
  await eventually(
    () => /is not the machine that moved/.test(relocations.list()[0].error?.message ?? '') || undefined,
  )
  t.deepEqual(cloud.did.slice(before), [])
  t.not(target.did.at(-1), 'finalize')
  // Of the first one a crash may have removed disks before.
  cloud.state.marks = []
  await until(relocations, 'finalized')
  t.deepEqual(cloud.did.slice(before), ['stop', 'undefine'])
})

test('finalize removes a machine whose identity an older version did not note', async (t) => {
  const table = memoryTable()
  const record = recordOf()
  await table.put(ID, {
    ...record,
    state: 'live',
    givenAway: 'for-good',
    committed: true,
    wanted: 'finalize',
  })
  const cloud = memoryCloud()
  cloud.state.web = 'stopped'
  const { relocations } = await openScripted({ table, cloud })
  await until(relocations, 'finalized')
  t.false(cloud.state.exists)
})

test('finalize_after finalizes by itself', async (t) => {
  const { relocations, cloud } = await openScripted()
  await relocations.begin(recordOf({ service: 'finalize_after = "1ms"' }))
  await until(relocations, 'finalized')
  t.false(cloud.state.exists)
})

test('a target that refuses is told nothing more, and nothing here is touched', async (t) => {
  const { relocations, cloud, target } = await openScripted({
    script: { answer: { accepted: false, objections: [{ code: 'NO_SPACE', message: 'The disk is full' }] } },
  })
  await relocations.begin(recordOf())
  await until(relocations, 'failed')
  t.like(relocations.list()[0].error, { code: 'NO_SPACE' })
  t.deepEqual(cloud.did, [])
  t.deepEqual(target.did, ['prepare'])
})

test('an unhealthy verdict has the machine run here again at once', async (t) => {
  const { relocations, cloud, target } = await openScripted({
    script: {
      async *start(grantor) {
        t.true(grantor.grant(5000))
        grantor.onGranted(performance.now() + 60_000)
        yield UNHEALTHY
      },
    },
  })
  await relocations.begin(recordOf())
  await until(relocations, 'rolled-back')
  t.is(cloud.state.web, 'running')
  t.deepEqual(target.did, ['prepare', 'start'], 'What the target has ended is not ended again')
  t.like(relocations.list()[0], {
    sourceRuns: true,
    error: { code: 'HEALTH_FAILED', message: 'http said 500' },
  })
})

test('a commit that is refused goes back when the target has ended it, and is done when it was committed before', async (t) => {
  const onCommit = async () => {
    throw new FluidError('POLICY_DENIED', 'This peer may relocate nothing here', { refused: true })
  }
  const ended = await openScripted({ script: { onCommit, standing: 'released' } })
  await ended.relocations.begin(recordOf())
  await until(ended.relocations, 'rolled-back')
  t.is(ended.cloud.state.web, 'running')
  t.is(ended.target.did.at(-1), 'abort', 'It runs here once the target has said that it is gone')
  const committed = await openScripted({ script: { onCommit, standing: 'committed' } })
  await committed.relocations.begin(recordOf())
  await eventually(() => committed.relocations.get(ID).record.committed)
  t.not(committed.cloud.state.web, 'running')
})

test('when the line dies the machine runs here again only behind the last lease', async (t) => {
  let leaseEnds = 0
  const { relocations, cloud, target } = await openScripted({
    script: {
      async *start(grantor) {
        yield { kind: 'progress', stage: 'starting', detail: 'web' }
        t.true(grantor.grant(5000))
        leaseEnds = performance.now() + 400
        grantor.onGranted(leaseEnds)
        target.plan.reachable = false
        throw new FluidError('PEER_UNREACHABLE', 'The line is cut')
      },
    },
  })
  const relocation = await relocations.begin(recordOf())
  relocation.leaseEndsAt = 0
  let restoredAt = 0
  relocation.watch(() => {
    if (relocation.record.restored) restoredAt ||= performance.now()
  })
  while (!relocation.record.restored) await delay(20)
  t.true(restoredAt > leaseEnds)
  t.is(cloud.state.web, 'running')
  t.is(relocation.record.state, 'rolling-back', 'What is there has to go, too')
  target.plan.reachable = true
  await until(relocations, 'rolled-back')
  t.deepEqual(target.did.slice(-1), ['abort'])
})

test('a target that falls silent loses the service as soon as its last lease has ended', async (t) => {
  const silentSince = performance.now()
  const { relocations, cloud, target } = await openScripted({
    script: {
      heardAt: () => silentSince,
      async *start(grantor) {
        t.true(grantor.grant(5000))
        yield { kind: 'progress', stage: 'checking', detail: 'http' }
        target.plan.reachable = false
        await new Promise(() => {})
      },
    },
  })
  const relocation = await relocations.begin(recordOf())
  while (!relocation.record.restored) await delay(20)
  t.is(cloud.state.web, 'running')
  t.true(performance.now() > relocation.leaseEndsAt)
  t.like(relocation.record.error, { code: 'TIMEOUT', message: 'The target fell silent' })
  target.plan.reachable = true
  await until(relocations, 'rolled-back')
})

test('no lease is granted once the owner wants the service back, nor a longer one than is kept', async (t) => {
  const answers: boolean[] = []
  const { relocations, cloud } = await openScripted({
    script: {
      async *start(grantor, signal) {
        yield { kind: 'progress', stage: 'checking', detail: 'http' }
        answers.push(grantor.grant(5000), grantor.grant(60_001))
        await relocations.rollBack(ID)
        answers.push(grantor.grant(5000))
        await forever(signal).catch(() => {})
        yield HEALTHY
      },
    },
  })
  await relocations.begin(recordOf())
  await until(relocations, 'rolled-back')
  t.deepEqual(answers, [true, false, false])
  t.is(cloud.state.web, 'running')
  t.like(relocations.list()[0].error, { code: 'CANCELLED' })
})

test('rollback of what is live waits until the target has stopped it', async (t) => {
  const order: string[] = []
  const { relocations, cloud } = await openScripted({
    script: { onAbort: async () => void order.push(`abort while ${cloud.state.web}`) },
  })
  await relocations.begin(recordOf())
  await until(relocations, 'live')
  await relocations.rollBack(ID)
  await until(relocations, 'rolled-back')
  t.deepEqual(order, ['abort while paused'])
  t.is(cloud.state.web, 'running')
})

test('downtime is counted from when the machine stopped serving until it serves, here or there', async (t) => {
  const table = memoryTable()
  const places = [{ machine: 'web', disk: 'vda', destination: 'web/vda.raw', format: 'raw' as const }]
  const paused = { ...recordOf(), places, state: 'cutting-over', pausedAt: Date.now() - 3_600_000 } as const
  await table.put(ID, paused)
  // The agent died before it had paused the machine.
  const there = await openScripted({ table })
  await until(there.relocations, 'live')
  t.true(there.relocations.list()[0].downtimeSeconds! < 3_000)
  const here = await openScripted({
    script: {
      async *start() {
        yield UNHEALTHY
      },
    },
  })
  await here.relocations.begin(recordOf())
  await until(here.relocations, 'rolled-back')
  t.true(here.relocations.list()[0].downtimeSeconds! >= 0)
})

test('rollback of what is live never starts the machine here while the target is away', async (t) => {
  const { relocations, cloud, target } = await openScripted()
  const relocation = await relocations.begin(recordOf())
  await until(relocations, 'live')
  target.plan.reachable = false
  relocation.leaseEndsAt = 0
  await relocations.rollBack(ID)
  while (!relocation.record.detail?.startsWith('trying again')) await delay(10)
  t.is(cloud.state.web, 'paused')
  target.plan.reachable = true
  await until(relocations, 'rolled-back')
  t.is(cloud.state.web, 'running')
})

test('rollback of what is live does without the word of a target that its owner says is gone for good', async (t) => {
  const { relocations, cloud, target } = await openScripted()
  const { record } = await relocations.begin(recordOf())
  await until(relocations, 'live')
  target.plan.reachable = false
  await relocations.rollBack(ID)
  await eventually(() => record.detail?.includes(`rollback ${ID} --target-gone`) || undefined)
  t.is(cloud.state.web, 'paused')
  await relocations.rollBack(ID, { targetGone: true })
  await eventually(() => record.restored)
  t.is(cloud.state.web, 'running')
  // Should it come back it is told, as long as it is a peer.
  t.is(record.state, 'rolling-back')
  target.plan.reachable = true
  await until(relocations, 'rolled-back')
  t.is(target.did.at(-1), 'abort')
})

test('a target that is said to be gone, and answers, ends its machines before they run here', async (t) => {
  const ending = Promise.withResolvers<void>()
  const { relocations, cloud, target } = await openScripted({ script: { onAbort: () => ending.promise } })
  const { record } = await relocations.begin(recordOf())
  await until(relocations, 'live')
  await relocations.rollBack(ID, { targetGone: true })
  await eventually(() => record.detail === 'waiting until nothing runs at the target' || undefined)
  t.is(cloud.state.web, 'paused')
  t.falsy(record.restored)
  ending.resolve()
  await until(relocations, 'rolled-back')
  t.is(cloud.state.web, 'running')
  t.is(target.did.at(-1), 'abort')
})

test('rollback while disks travel leaves the machine running and cancels their jobs', async (t) => {
  const { relocations, cloud, carrier, target } = await openScripted()
  const begun = Promise.withResolvers<void>()
  carrier.facts.gate = async (_, signal) => {
    begun.resolve()
    await forever(signal)
  }
  await relocations.begin(recordOf())
  await begun.promise
  await relocations.rollBack(ID)
  await until(relocations, 'rolled-back')
  t.is(cloud.state.web, 'running')
  t.false(cloud.did.includes('pause'))
  t.true(cloud.state.released > 0)
  t.deepEqual(
    [...carrier.all.values()].map(({ record }) => record.state),
    ['cancelled'],
  )
  t.deepEqual(target.did, ['prepare', 'abort'])
})

test('a machine that its owner shut down meanwhile is not started by going back', async (t) => {
  for (const isCutOver of [false, true]) {
    const { relocations, cloud, carrier } = await openScripted()
    const begun = Promise.withResolvers<void>()
    const shut = Promise.withResolvers<void>()
    carrier.facts.gate = async () => {
      begun.resolve()
      await shut.promise
    }
    await relocations.begin(recordOf())
    await begun.promise
    cloud.state.web = 'stopped'
    if (!isCutOver) await relocations.rollBack(ID)
    shut.resolve()
    await until(relocations, 'rolled-back')
    t.is(cloud.state.web, 'stopped')
    t.is(relocations.list()[0].error?.code, isCutOver ? 'CLOUD_FAILED' : 'CANCELLED')
  }
})

test('a relocation that does not converge stops, as it was asked', async (t) => {
  const { relocations, cloud, carrier } = await openScripted()
  carrier.facts.gate = async () => await delay(5)
  cloud.state.dirty = 2 ** 44
  await relocations.begin(recordOf())
  await until(relocations, 'rolled-back')
  t.like(relocations.list()[0].error, { code: 'NOT_CONVERGING' })
  t.false(cloud.did.includes('pause'))
})

test('a relocation that does not converge is kept up, as it was asked, and cut over by hand', async (t) => {
  const { relocations, cloud, carrier } = await openScripted()
  carrier.facts.gate = async () => await delay(5)
  cloud.state.dirty = 2 ** 44
  const relocation = await relocations.begin(
    recordOf({ service: 'cutover = { on_no_convergence = "keep" }' }),
  )
  while (!relocation.record.detail?.startsWith('not converging')) await delay(10)
  await relocations.cutover(ID)
  await until(relocations, 'live')
  t.true(cloud.did.includes('pause'))
})

test('pause holds the rounds, resume goes on, and neither touches the machine', async (t) => {
  const { relocations, cloud, carrier } = await openScripted()
  const begun = Promise.withResolvers<void>()
  carrier.facts.gate = async (_, signal) => {
    begun.resolve()
    await forever(signal)
  }
  await relocations.begin(recordOf())
  await begun.promise
  await relocations.pause(ID)
  await until(relocations, 'paused')
  t.is(cloud.state.web, 'running')
  await t.throwsAsync(relocations.cutover(ID), { message: /paused and cannot be cut over/ })
  carrier.facts.gate = async () => {}
  await relocations.resume(ID)
  await until(relocations, 'live')
})

test('what waits for a person at the target can be paused and taken back meanwhile', async (t) => {
  const { relocations, target } = await openScripted({ script: { answer: new Promise(() => {}) } })
  const asked = async (times: number) => {
    while (target.did.filter((what) => what === 'prepare').length < times) await delay(5)
  }
  await relocations.begin(recordOf())
  await asked(1)
  t.is((await relocations.pause(ID)).record.state, 'paused')
  await relocations.resume(ID)
  await asked(2)
  await relocations.rollBack(ID)
  await until(relocations, 'rolled-back')
  t.deepEqual(target.did, ['prepare', 'prepare', 'abort'])
})

test('rounds that fail for what a person can mend rest with all that has moved, and go on when it is', async (t) => {
  const { relocations, cloud, carrier, target } = await openScripted()
  let failures = 1
  carrier.facts.gate = async () => {
    if (failures-- > 0) throw new FluidError('NO_SPACE', 'The disk there is full')
  }
  await relocations.begin(recordOf())
  await until(relocations, 'paused')
  t.like(relocations.list()[0], { error: { code: 'NO_SPACE' }, wanted: 'pause' })
  t.is(cloud.state.web, 'running')
  t.deepEqual(target.did, ['prepare'])
  await relocations.resume(ID)
  await until(relocations, 'live')
  const other = await openScripted()
  other.carrier.facts.gate = async () => {
    throw new FluidError('VERIFY_MISMATCH', 'The volumes differ')
  }
  await other.relocations.begin(recordOf())
  await until(other.relocations, 'rolled-back')
})

for (const disks of [['vda', 'vdb'], []])
  test(`a machine that has ${disks.length} disks in the last round, and not the one that was planned, is not handed over`, async (t) => {
    const { relocations, cloud, carrier, target } = await openScripted()
    carrier.facts.gate = async (last) => {
      if (!last) cloud.state.disks = disks
    }
    await relocations.begin(recordOf())
    await until(relocations, 'rolled-back')
    t.regex(
      relocations.list()[0].error?.message ?? '',
      /Since it was planned, disk vd[ab] of web was (added|removed)/,
    )
    t.false(target.did.includes('start'))
    t.is(cloud.state.web, 'running')
  })

test('a disk that comes between rounds has the relocation rest until it is gone', async (t) => {
  const { relocations, cloud, carrier } = await openScripted()
  cloud.state.disks = ['vda', 'vdb']
  await relocations.begin(recordOf())
  await until(relocations, 'paused')
  cloud.state.disks = ['vda']
  await relocations.resume(ID)
  await until(relocations, 'live')
  t.true(carrier.rounds.every(({ dirty }) => dirty === undefined))
})

test('pause that comes when the machines stand still is refused, and forgotten', async (t) => {
  const { relocations, carrier } = await openScripted()
  const wish = Promise.withResolvers<void>()
  const relocation = await relocations.begin(recordOf())
  using _ = relocation.watch(() => {
    // As if it had been said just before.
    if (relocation.record.state === 'cutting-over' && carrier.rounds.length === 1) {
      relocation.record.wanted = 'pause'
      wish.resolve()
    }
  })
  await wish.promise
  await until(relocations, 'live')
  t.is(relocation.record.wanted, 'run')
  await t.throwsAsync(relocations.pause(ID), { message: /live and cannot be paused/ })
})

test('watchAll() follows what is under way until nothing is', async (t) => {
  const { relocations, carrier } = await openScripted()
  t.deepEqual(await collect(relocations.watchAll(AbortSignal.timeout(60_000))), [])
  const begun = Promise.withResolvers<void>()
  carrier.facts.gate = async (last) => {
    if (!last) await begun.promise
  }
  await relocations.begin(recordOf())
  const states = []
  for await (const { state } of relocations.watchAll(AbortSignal.timeout(60_000))) {
    states.push(state)
    begun.resolve()
  }
  t.is(states.at(-1), 'live')
  t.true(states.length > 1)
})

test('finalize and rollback do not wait for a target that is no peer any more', async (t) => {
  const { relocations, target, cloud } = await openScripted()
  await relocations.begin(recordOf())
  await until(relocations, 'live')
  target.plan.unpaired = true
  await relocations.finalize(ID)
  await until(relocations, 'finalized')
  t.false(cloud.state.exists)
  const other = await openScripted()
  const begun = Promise.withResolvers<void>()
  other.carrier.facts.gate = async (_, signal) => {
    begun.resolve()
    await forever(signal)
  }
  await other.relocations.begin(recordOf())
  await begun.promise
  other.target.plan.unpaired = true
  await other.relocations.rollBack(ID)
  await until(other.relocations, 'rolled-back')
  t.is(other.cloud.state.web, 'running')
})

test('a machine is part of one relocation at a time', async (t) => {
  const { relocations } = await openScripted()
  await relocations.begin(recordOf())
  await until(relocations, 'live')
  await t.throwsAsync(relocations.begin({ ...recordOf(), relocation: 'cd'.repeat(16) }), {
    message: /web is part of relocation/,
  })
})

test('a machine that runs here again is free for another relocation, though the target is still to be told', async (t) => {
  const { relocations, carrier, target } = await openScripted()
  carrier.facts.gate = (_, signal) => forever(signal)
  await relocations.begin(recordOf())
  await until(relocations, 'pre-copying')
  target.plan.reachable = false
  await relocations.rollBack(ID)
  await eventually(() => relocations.get(ID).record.restored)
  t.is(relocations.get(ID).record.state, 'rolling-back')
  await relocations.begin({ ...recordOf(), relocation: 'cd'.repeat(16) })
  t.is(relocations.list().length, 2)
  await relocations[Symbol.asyncDispose]()
})

test('of two relocations of a machine that begin at once one does', async (t) => {
  const { relocations } = await openScripted()
  const records = [recordOf(), { ...recordOf(), relocation: 'cd'.repeat(16) }]
  const begun = await Promise.allSettled(records.map((record) => relocations.begin(record)))
  t.deepEqual(
    begun.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  )
  t.is(relocations.list().length, 1)
})

test('a wish to go back is not overridden by finalize, nor by resume', async (t) => {
  const live = await openScripted()
  await live.relocations.begin(recordOf())
  await until(live.relocations, 'live')
  const back = live.relocations.rollBack(ID)
  await t.throwsAsync(live.relocations.finalize(ID), { code: 'JOB_STATE' })
  await back
  await until(live.relocations, 'rolled-back')
  t.true(live.cloud.state.exists)
  const { relocations, carrier } = await openScripted()
  carrier.facts.gate = (_, signal) => forever(signal)
  await relocations.begin(recordOf())
  await until(relocations, 'pre-copying')
  await relocations.pause(ID)
  await eventually(() => relocations.get(ID).record.state === 'paused' || undefined)
  carrier.facts.gate = async () => {}
  const resumed = relocations.resume(ID)
  const taken = relocations.rollBack(ID)
  await t.throwsAsync(resumed, { code: 'JOB_STATE' })
  await taken
  await until(relocations, 'rolled-back')
})

/** A table on a disk that can be full. */
function fullTable() {
  const table = memoryTable()
  const disk = { full: false }
  return {
    disk,
    table: {
      ...table,
      put: async (...row: Parameters<typeof table.put>) => {
        if (disk.full) throw new FluidError('NO_SPACE', 'The disk is full')
        await table.put(...row)
      },
    },
  }
}

test('a change that cannot be kept is not made', async (t) => {
  const { table, disk } = fullTable()
  const { relocations } = await openScripted({ table })
  disk.full = true
  await t.throwsAsync(relocations.begin(recordOf()), { code: 'NO_SPACE' })
  t.deepEqual(relocations.list(), [])
  disk.full = false
  const relocation = await relocations.begin(recordOf())
  await until(relocations, 'live')
  disk.full = true
  await t.throwsAsync(relocations.finalize(ID), { code: 'NO_SPACE' })
  t.is(relocation.record.wanted, 'run')
  await t.throwsAsync(relocation.become('finalize', { detail: 'x' }), { code: 'NO_SPACE' })
  t.like(relocation.record, { state: 'live', detail: undefined })
  t.deepEqual(JSON.parse(JSON.stringify(relocation.record)), table.get(ID))
})

test('a relocation whose record cannot be written goes on as soon as it can', async (t) => {
  const { table, disk } = fullTable()
  const { relocations, cloud } = await openScripted({ table, script: { start: () => fillUp() } })
  // The machine stands still from here on, and neither its verdict nor a way back can be noted.
  const filled = { times: 0 }
  async function* fillUp() {
    if (filled.times++ === 0) disk.full = true
    yield HEALTHY
  }
  await relocations.begin(recordOf())
  await eventually(() => relocations.list()[0].error?.code === 'NO_SPACE' || undefined)
  t.is(cloud.state.web, 'paused')
  t.is(table.get(ID)?.state, 'adapting')
  disk.full = false
  await eventually(() => ['live', 'rolled-back'].includes(table.get(ID)!.state) || undefined)
  t.pass()
})

test('a last round that the line fails has the machine run on here, and a later one succeeds', async (t) => {
  const { relocations, cloud, carrier, target } = await openScripted()
  let failures = 1
  carrier.facts.gate = async (last) => {
    if (last && failures-- > 0) throw new FluidError('LANE_FAILED', 'The line is cut')
  }
  const relocation = await relocations.begin(recordOf())
  const seen: string[] = []
  using _ = relocation.watch(() => void seen.push(relocation.record.state))
  await until(relocations, 'live')
  t.deepEqual(cloud.did, [
    'snapshot while running',
    'pause',
    'snapshot while paused',
    'resume',
    'snapshot while running',
    'pause',
    'snapshot while paused',
  ])
  t.deepEqual(
    carrier.rounds.map(({ last }) => last),
    [false, true, false, true],
  )
  t.true(seen.indexOf('cutting-over') < seen.lastIndexOf('converging'))
  t.deepEqual(target.did, ['prepare', 'start', 'commit'])
  t.is(relocations.list()[0].error, undefined)
})

test('an agent that is stopped in a last round has the machine run on, and begins the cut-over anew', async (t) => {
  const scripted = await openScripted()
  const { relocations, cloud, carrier, table } = scripted
  const held = Promise.withResolvers<void>()
  carrier.facts.gate = async (last, signal) => {
    if (!last) return
    held.resolve()
    await forever(signal)
  }
  await relocations.begin(recordOf())
  await held.promise
  t.is(cloud.state.web, 'paused')
  await relocations[Symbol.asyncDispose]()
  t.is(cloud.state.web, 'running')
  t.is(table.get(ID)?.state, 'cutting-over')
  carrier.facts.gate = async () => {}
  const again = await scripted.reopen()
  await until(again, 'live')
  t.is(cloud.state.web, 'paused')
  t.deepEqual(cloud.did.slice(-2), ['pause', 'snapshot while paused'])
})

test('last rounds that fail again and again end in going back', async (t) => {
  const { relocations, cloud, carrier } = await openScripted()
  carrier.facts.gate = async (last) => {
    if (last) throw new FluidError('LANE_FAILED', 'The line is cut')
  }
  await relocations.begin(recordOf())
  await until(relocations, 'rolled-back')
  t.is(carrier.rounds.filter(({ last }) => last).length, 3)
  t.deepEqual(cloud.did.slice(-1), ['resume'])
  t.like(relocations.list()[0].error, { code: 'LANE_FAILED' })
})

test('a last round that fails for no passing reason ends in going back', async (t) => {
  const { relocations, cloud, carrier } = await openScripted()
  carrier.facts.gate = async (last) => {
    if (last) throw new FluidError('NO_SPACE', 'The disk there is full')
  }
  await relocations.begin(recordOf())
  await until(relocations, 'rolled-back')
  t.is(carrier.rounds.filter(({ last }) => last).length, 1)
  t.is(cloud.state.web, 'running')
})

test('a disk that may be whole there takes no more rounds: a last round that fails then goes back', async (t) => {
  const { relocations, cloud, carrier } = await openScripted()
  carrier.facts.gate = async (last) => {
    if (!last) return
    const [job] = carrier.all.values()
    await job.update({ root: `b3:${'cd'.repeat(32)}` })
    throw new FluidError('LANE_FAILED', 'The line is cut behind the last byte')
  }
  await relocations.begin(recordOf())
  await until(relocations, 'rolled-back')
  t.is(carrier.rounds.filter(({ last }) => last).length, 1)
  t.is(cloud.state.web, 'running')
})

test('what the owner wanted now is wanted again after a last round that failed, behind one more round', async (t) => {
  const { relocations, cloud, carrier } = await openScripted()
  cloud.state.dirty = 2 ** 44
  let failures = 1
  carrier.facts.gate = async (last) => {
    await delay(5)
    if (last && failures-- > 0) throw new FluidError('TIMEOUT', 'The last round has stood still')
  }
  const relocation = await relocations.begin(
    recordOf({ service: 'cutover = { on_no_convergence = "keep" }' }),
  )
  while (!relocation.record.detail?.startsWith('not converging')) await delay(10)
  await relocations.cutover(ID)
  await until(relocations, 'live')
  const [first, second] = carrier.rounds.flatMap(({ last }, i) => (last ? [i] : []))
  t.true(second > first + 1)
})

test('a snapshot that was closed unread, since that of another machine failed, has all looked at anew', async (t) => {
  const { relocations, cloud, carrier, target } = await openScripted()
  target.plan.answer = {
    accepted: true,
    places: ['web', 'db'].map((machine) => ({ machine, disk: 'vda', destination: machine, format: 'raw' })),
    warnings: [],
  }
  let taken = 0
  cloud.cloud.snapshot = async (name) => {
    if (name === 'db' && ++taken === 1) throw new FluidError('TIMEOUT', 'The cloud is busy')
    const disk = { disk: 'vda', sizeBytes: 100, url: 'nbd://h/e', epoch: 'e', dirty: [] }
    return { disks: [disk], async [Symbol.asyncDispose]() {} }
  }
  const record = recordOf()
  const [web] = record.machines
  await relocations.begin({
    ...record,
    machines: [web, { ...web, name: 'db', targetName: 'db' }],
    disks: ['web', 'db'].map((machine) => ({ ...record.disks[0], machine })),
  })
  await until(relocations, 'live')
  t.deepEqual(
    carrier.rounds.map(({ dirty }) => dirty),
    [undefined, undefined, [], []],
    'The first round that is carried takes nothing for unchanged',
  )
})

// An agent that comes back finds a record, and machines as its predecessor left them.
for (const { state, givenAway, machine, ends } of [
  { state: 'planned', givenAway: 'no', machine: 'running', ends: 'live' },
  { state: 'pre-copying', givenAway: 'no', machine: 'running', ends: 'live' },
  { state: 'converging', givenAway: 'no', machine: 'running', ends: 'live' },
  { state: 'cutting-over', givenAway: 'no', machine: 'running', ends: 'live' },
  { state: 'cutting-over', givenAway: 'no', machine: 'paused', ends: 'live' },
  { state: 'adapting', givenAway: 'by-lease', machine: 'paused', ends: 'live' },
  { state: 'starting', givenAway: 'by-lease', machine: 'paused', ends: 'live' },
  { state: 'verifying', givenAway: 'by-lease', machine: 'paused', ends: 'live' },
  { state: 'live', givenAway: 'for-good', machine: 'paused', ends: 'live' },
  { state: 'rolling-back', givenAway: 'no', machine: 'paused', ends: 'rolled-back' },
  { state: 'rolling-back', givenAway: 'by-lease', machine: 'paused', ends: 'rolled-back' },
  { state: 'rolling-back', givenAway: 'for-good', machine: 'paused', ends: 'rolled-back' },
  { state: 'finalizing', givenAway: 'for-good', machine: 'paused', ends: 'finalized' },
] as const) {
  test(`an agent that died ${state} with a ${machine} machine (given away: ${givenAway}) comes to be ${ends}`, async (t) => {
    const table = memoryTable()
    const record = recordOf()
    const roots = ['adapting', 'starting', 'verifying', 'live', 'rolling-back', 'finalizing'].includes(state)
    await table.put(ID, {
      ...record,
      state,
      givenAway,
      pausedAt: machine === 'paused' ? Date.now() : undefined,
      places:
        state === 'planned' ? undefined : [{ machine: 'web', disk: 'vda', destination: 'd', format: 'raw' }],
      disks: record.disks.map((disk) => (roots ? { ...disk, root: `b3:${'cd'.repeat(32)}` } : disk)),
    })
    const scripted = await openScripted()
    scripted.cloud.state.web = machine
    const { relocations, cloud } = await openScripted({ ...scripted, table })
    await until(relocations, ends)
    t.is(cloud.state.web, ends === 'rolled-back' ? 'running' : ends === 'finalized' ? 'stopped' : 'paused')
    if (roots) t.false(cloud.did.some((what) => what.startsWith('snapshot')))
  })
}

for (const state of ['cutting-over', 'adapting', 'starting', 'verifying'] as const) {
  test(`an agent that died ${state} and finds the machine running, its disks final, grants nothing and goes back`, async (t) => {
    const table = memoryTable()
    const record = recordOf()
    await table.put(ID, {
      ...record,
      state,
      givenAway: state === 'cutting-over' ? 'no' : 'by-lease',
      places: [{ machine: 'web', disk: 'vda', destination: 'd', format: 'raw' }],
      disks: record.disks.map((disk) => ({ ...disk, root: `b3:${'cd'.repeat(32)}` })),
    })
    const { relocations, cloud, target } = await openScripted({ table })
    await until(relocations, 'rolled-back')
    t.deepEqual(target.did, ['abort'])
    t.deepEqual(cloud.did, [])
    t.like(relocations.list()[0], { sourceRuns: true, error: { code: 'CLOUD_FAILED' } })
  })
}

test('an agent that died between two final disks, and finds the machine running, does not halt it again', async (t) => {
  const table = memoryTable()
  const record = recordOf()
  const [vda] = record.disks
  await table.put(ID, {
    ...record,
    state: 'cutting-over',
    disks: [
      { ...vda, root: `b3:${'cd'.repeat(32)}` },
      { ...vda, disk: 'vdb' },
    ],
  })
  const { relocations, cloud } = await openScripted({ table })
  await until(relocations, 'rolled-back')
  t.deepEqual(cloud.did, [])
})
