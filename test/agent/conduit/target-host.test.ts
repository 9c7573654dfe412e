import ava from 'ava'
import { eventually } from '../../helpers/eventually.ts'
import { grantor, openStage, verdictOf } from '../../helpers/relocation-stage.ts'
import type { TargetEvent } from '../../../agent/conduit/target.ts'

// Each test has agents and services of its own: all at once they would only be in each other's way.
const test = process.platform === 'linux' ? ava.serial : ava.skip

/** A check that never passes. */
const NOBODY = { kind: 'tcp', host: '127.0.0.1', port: 1025 } as const

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

test('an unhealthy service is stopped and removed before the verdict is given', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web', { health: [NOBODY], gateMs: 500 })
  const handover = await stage.fill(request)
  await using target = await stage.open(request)
  const verdict = await verdictOf(target.start(handover, grantor()))
  t.false(verdict.healthy)
  t.is(verdict.objections[0]?.code, 'HEALTH_FAILED')
  t.deepEqual(await stage.leftovers(), [])
  t.is(await target.inquire(), 'released')
  await target.abort('as agreed')
  await t.throwsAsync(target.commit(), { code: 'JOB_STATE' })
})

test('a machine that cannot be made leaves nothing, and the verdict says why', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web', {}, { extra: { start: ['/bin/true'] } })
  const handover = await stage.fill(request)
  await using target = await stage.open(request)
  const verdict = await verdictOf(target.start(handover, grantor()))
  t.false(verdict.healthy)
  t.deepEqual(await stage.leftovers(), [])
})

test('abort in any standing leaves no machine, disk, guard or reservation', async (t) => {
  const stage = await openStage(t)
  for (const until of ['prepared', 'moved', 'starting', 'healthy', 'committed'] as const) {
    const request = stage.request(`web-${until}`, until === 'starting' ? { health: [NOBODY] } : {})
    await using target = await stage.open(request)
    if (until === 'prepared') await target.prepare(request, { dry: false })
    else {
      const handover = await stage.fill(request)
      const events = target.start(handover, grantor())
      if (until === 'starting') {
        for await (const event of events) if (event.kind === 'progress' && event.stage === 'checking') break
      } else if (until !== 'moved') await verdictOf(events)
      if (until === 'committed') await target.commit()
    }
    await target.abort('The owner goes back')
    t.deepEqual(await stage.leftovers(), [], until)
    t.is(await target.inquire(), 'released')
    await target.abort('again')
  }
  t.true(stage.evidence.has('release'))
})

test('abort of what was never asked for says that nothing is there', async (t) => {
  const stage = await openStage(t)
  await using target = await stage.open(stage.request('web'))
  t.is(await target.inquire(), 'unknown')
  await target.abort('never mind')
  await target.finalize()
  t.deepEqual(await stage.leftovers(), [])
})

test('without leases a machine is held before they end, and runs on when the commit comes', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web')
  const handover = await stage.fill(request)
  const grants = grantor()
  await using first = await stage.open(request)
  await verdictOf(first.start(handover, grants))
  t.true(await stage.runs('web'))
  // The line is cut at the worst moment.
  await first[Symbol.asyncDispose]()
  await stage.isHeld('web')
  t.true((await stage.countedAt('web')) < grants.until)
  await using second = await stage.open(request)
  t.is(await second.inquire(), 'suspended')
  await second.commit()
  t.true(await stage.runs('web'))
})

test('a machine that was held as its lease was made longer is let run again', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web')
  const handover = await stage.fill(request)
  await using target = await stage.open(request)
  await verdictOf(target.start(handover, grantor()))
  // It may be let run again each time before pause() sees that it halted.
  await stage.cloud.pause('web').catch((error) => t.regex(error.message, /did not take SIGSTOP/))
  await stage.stateIs('web', 'running')
  await target.abort('enough')
  t.deepEqual(await stage.leftovers(), [])
})

test('a source that takes its right back is not asked again, and the machine is held', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web')
  const handover = await stage.fill(request)
  const grants = grantor()
  await using target = await stage.open(request)
  await verdictOf(target.start(handover, grants))
  grants.open = false
  await stage.isHeld('web')
  t.true((await stage.countedAt('web')) < grants.until)
  await target.abort('back')
  t.deepEqual(await stage.leftovers(), [])
})

test('the same handover in another conversation goes on where it was', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web', { health: [NOBODY], gateMs: 600_000 })
  const handover = await stage.fill(request)
  const grants = grantor()
  await using first = await stage.open(request)
  for await (const event of first.start(handover, grants))
    if (event.kind === 'progress' && event.stage === 'checking') break
  await first[Symbol.asyncDispose]()
  await stage.isHeld('web')
  await using second = await stage.open(request)
  const events = second.start(handover, grants)[Symbol.asyncIterator]()
  void events.next().catch(() => {})
  await stage.stateIs('web', 'running')
  await second.abort('enough')
  t.deepEqual(await stage.leftovers(), [])
})

test('prepare says all that stands against a plan, and a dry one reserves nothing', async (t) => {
  const stage = await openStage(t, {
    policy: ['--max-vcpus', '2', '--max-memory', '1MiB', '--migrators', ''],
  })
  const request = stage.request(
    'web',
    { health: [{ kind: 'http', url: 'http://169.254.169.254/latest/meta-data' }] },
    {
      vcpus: 3,
      memoryBytes: 2 ** 21,
      nics: [
        {
          id: 'net0',
          mac: '52:54:00:00:00:01',
          model: 'virtio',
          network: 'br0',
          forwards: [{ hostAddress: '0.0.0.0', hostPort: 22, guestPort: 22 }],
        },
      ],
    },
  )
  const [machine] = request.machines
  const steps = [{ migrator: 'adapt-guest', version: '1.0.0', input: {} }]
  const asked = { ...request, machines: [{ ...machine, steps }] }
  await using target = await stage.open(asked)
  const answer = await target.prepare(asked, { dry: true })
  t.false(answer.accepted)
  const said = answer.accepted ? [] : answer.objections.map(({ message }) => message)
  for (const word of [
    '3 processors',
    '2097152 bytes of memory',
    'network br0',
    'port of 0.0.0.0',
    'port 22',
    '169.254',
    'adapt-guest',
  ])
    t.true(
      said.some((message) => message.includes(word)),
      `${word} in ${said.join('\n')}`,
    )
  const sound = stage.request('web')
  await using other = await stage.open(sound)
  t.true((await other.prepare(sound, { dry: true })).accepted)
  t.is(await other.inquire(), 'unknown')
})

test('a name is taken by the first that prepares it', async (t) => {
  const stage = await openStage(t)
  const [one, two] = [stage.request('web'), stage.request('web')]
  await using first = await stage.open(one)
  await using second = await stage.open(two)
  t.true((await first.prepare(one, { dry: false })).accepted)
  t.true((await first.prepare(one, { dry: false })).accepted, 'idempotent')
  const answer = await second.prepare(two, { dry: false })
  t.is(answer.accepted ? undefined : answer.objections[0]?.code, 'NAME_BUSY')
  await first.abort('free again')
  t.true((await second.prepare(two, { dry: false })).accepted)
})

test('a grant that is taken away ends what was not committed', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web')
  const handover = await stage.fill(request)
  await using target = await stage.open(request)
  await verdictOf(target.start(handover, grantor()))
  await stage.target.tell('policy', 'set', stage.source.identity.peerId, '--relocate', 'none')
  await eventually(async () => (await stage.leftovers()).length === 0 || undefined)
  t.is(await target.inquire(), 'released')
  await t.throwsAsync(target.commit(), { code: 'POLICY_DENIED' })
})

test('where a person is asked, the plan waits for one, and its disks then need no other', async (t) => {
  const stage = await openStage(t, { policy: ['--approve', 'ask'] })
  const request = stage.request('web')
  await using target = await stage.open(request)
  t.true((await target.prepare(request, { dry: true })).accepted)
  const asked = target.prepare(request, { dry: false })
  const waiting = await eventually(async () => {
    const { lines } = await stage.target.run('policy', 'arrivals')
    return lines.find(({ state }) => state === 'awaiting')
  })
  t.like(waiting, { type: 'arrival', service: 'web', machines: ['web'] })
  await stage.target.tell('policy', 'approve', String(waiting.relocation).slice(0, 8))
  t.true((await asked).accepted)
  const handover = await stage.fill(request)
  t.true((await verdictOf(target.start(handover, grantor()))).healthy)
  t.like(await stage.target.tell('status'), { arrivals: [{ state: 'healthy' }] })
  await target.abort('enough')
  const again = stage.request('web')
  await using other = await stage.open(again)
  const refused = other.prepare(again, { dry: false })
  refused.catch(() => {})
  await eventually(async () => (await other.inquire()) === 'unknown' || undefined)
  const found = await eventually(async () => {
    const { lines } = await stage.target.run('policy', 'arrivals')
    return lines.find(({ state }) => state === 'awaiting')
  })
  await stage.target.tell('policy', 'reject', String(found.relocation))
  await t.throwsAsync(refused, { code: 'APPROVAL_REJECTED' })
  t.deepEqual(await stage.leftovers(), [])
})

test('a plan that a person let in is exchanged for no other, and may come again', async (t) => {
  const stage = await openStage(t, { policy: ['--approve', 'ask'] })
  const request = stage.request('web')
  const another = { ...request, service: 'another', gateMs: 1000 }
  await using target = await stage.open(request)
  const asked = target.prepare(request, { dry: false })
  const waiting = await eventually(async () => {
    const { lines } = await stage.target.run('policy', 'arrivals')
    return lines.find(({ state }) => state === 'awaiting')
  })
  const exchanged = { code: 'JOB_STATE', message: /another plan/ }
  await t.throwsAsync(target.prepare(another, { dry: false }), exchanged, 'while the person looks')
  await stage.target.tell('policy', 'approve', String(waiting.relocation))
  t.true((await asked).accepted)
  await using again = await stage.open(request)
  for (const dry of [true, false]) await t.throwsAsync(again.prepare(another, { dry }), exchanged)
  t.true((await again.prepare(request, { dry: false })).accepted, 'the same needs no other yes')
  const { lines } = await stage.target.run('policy', 'arrivals')
  t.like(
    lines.find(({ relocation }) => relocation === request.relocation),
    { state: 'prepared', service: 'web' },
  )
})
