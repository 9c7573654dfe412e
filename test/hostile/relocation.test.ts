/** A source that relocates what it may not, hands over what it did not move, and lies about leases. */
import ava, { type ExecutionContext } from 'ava'
import type { RelocationRequest } from '../../agent/conduit/target.ts'
import { LEASE_MS, MAX_ARRIVALS_PER_PEER, MAX_RELOCATION_FRAME_BYTES } from '../../protocol/limits.ts'
import { formatRoot } from '../../protocol/manifest.ts'
import { fluidcloud } from '../../protocol/pb/relocation.js'
import type { RelocationFrame } from '../../protocol/relocation-message.ts'
import { bodyDigest, encodeBody, relocationBytes } from '../../protocol/relocation-signed.ts'
import { eventually } from '../helpers/eventually.ts'
import { grantor, openStage, verdictOf, type RelocationStage } from '../helpers/relocation-stage.ts'
import { nonce, openRogue, type RogueRelocation } from '../helpers/rogue-relocation.ts'

const test = process.platform === 'linux' ? ava.serial : ava.skip

let stage: RelocationStage
const ends: (() => unknown)[] = []
ava.before(async () => {
  if (process.platform === 'linux') stage = await openStage({ teardown: (end) => void ends.push(end) })
})
ava.after.always(async () => {
  for (const end of ends.toReversed()) await end()
})

const refusedOf = async () => (await stage.target.tell('status')).refused as Record<string, number>

/** Asserts that `work` is refused with this code, counted as `kind`, and that nothing is left of it. */
async function refused(
  t: ExecutionContext,
  kind: string,
  code: string,
  work: () => Promise<RelocationFrame>,
): Promise<void> {
  const before = (await refusedOf())[kind] ?? 0
  const { message } = await work()
  if (message.kind === 'answer') t.is(message.objections[0]?.code, code as never)
  else t.like(message, { kind: 'refused', code })
  await eventually(async () => ((await refusedOf())[kind] ?? 0) > before || undefined)
}

async function prepare(rogue: RogueRelocation, request: RelocationRequest): Promise<RelocationFrame> {
  const plan = encodeBody('plan', { ...request, source: rogue.source, target: rogue.target })
  rogue.send({ kind: 'prepare', plan: await rogue.sign('plan', plan), dry: false })
  return rogue.hear('answer', 'refused')
}

async function placesOf(request: RelocationRequest) {
  await using target = await stage.open(request)
  const answer = await target.prepare(request, { dry: true })
  return answer.accepted ? answer.places : []
}

async function gone(request: RelocationRequest): Promise<void> {
  await using target = await stage.open(request)
  await target.abort('tidying up')
}

test('a paired peer without the grant is refused whatever it asks', async (t) => {
  const rogue = await openRogue(await stage.stranger())
  await refused(t, 'relocation-denied', 'POLICY_DENIED', () => prepare(rogue, stage.request('web')))
  t.deepEqual(await stage.leftovers(), [])
})

test('a peer can neither see, end nor commit what is another’s', async (t) => {
  const request = stage.request('web')
  await using target = await stage.open(request)
  await target.prepare(request, { dry: false })
  const rogue = await openRogue(await stage.stranger())
  const { relocation } = request
  for (const kind of ['inquire', 'finalize'] as const)
    await refused(t, 'relocation-denied', 'POLICY_DENIED', async () => {
      rogue.send({ kind, relocation })
      return rogue.hear('refused')
    })
  await refused(t, 'relocation-denied', 'POLICY_DENIED', async () => {
    rogue.send({ kind: 'abort', relocation, reason: 'mine' })
    return rogue.hear('refused')
  })
  t.is(await target.inquire(), 'prepared')
  await gone(request)
})

test('a plan beyond the grant reserves nothing', async (t) => {
  const rogue = await openRogue(stage.source)
  const [planned] = stage.request('a').machines
  const machines = Array.from({ length: 5 }, (_, i) => ({
    ...planned,
    machine: { ...planned.machine, name: `m${i}` },
  }))
  await refused(t, 'relocation', 'TOO_LARGE', () => prepare(rogue, stage.request('a', { machines })))
  t.deepEqual(await stage.leftovers(), [])
})

test('an unknown Migrator is no part of a plan', async (t) => {
  const rogue = await openRogue(stage.source)
  const [planned] = stage.request('web').machines
  const steps = [{ migrator: 'run-anything', version: '1.0.0', input: { command: 'true' } }]
  await refused(t, 'relocation', 'POLICY_DENIED', () =>
    prepare(rogue, stage.request('web', { machines: [{ ...planned, steps }] })),
  )
})

test('a disk whose name begins with a dot gets no place', async (t) => {
  const rogue = await openRogue(stage.source)
  const request = stage.request('web')
  const [planned] = request.machines
  const disks = [{ ...planned.machine.disks[0], id: '..' }]
  const moving = [{ ...planned.disks[0], id: '..' }]
  const machines = [{ ...planned, machine: { ...planned.machine, disks }, disks: moving }]
  await refused(t, 'relocation', 'NAME_INVALID', () => prepare(rogue, { ...request, machines }))
  t.deepEqual(await stage.leftovers(), [])
})

test('names that lead out of the folder break the protocol', async (t) => {
  const v1 = fluidcloud.relocation.v1
  const request = stage.request('web')
  for (const [name, id] of [
    ['../../web', 'vda'],
    ['web', '../../../etc/cron.d/x'],
  ]) {
    const rogue = await openRogue(stage.source)
    const { machine } = request.machines[0]
    const body = v1.Plan.encode({
      relocation: relocationBytes(request.relocation),
      source: rogue.source,
      target: rogue.target,
      service: 'x',
      machines: [
        {
          machine: {
            ...machine,
            name,
            disks: [{ ...machine.disks[0], id }],
            nics: [],
            extraJson: '',
          },
          disks: [{ id, sizeBytes: 1, allocatedBytes: 1 }],
        },
      ],
      gateMs: 1,
    }).finish()
    await refused(t, 'protocol-violation', 'PROTOCOL_VIOLATION', async () => {
      rogue.send({ kind: 'prepare', plan: await rogue.sign('plan', body), dry: false })
      return rogue.hear('refused')
    })
    t.truthy(await rogue.ended)
  }
  t.deepEqual(await stage.leftovers(), [])
})

test('a frame beyond the limit ends the stream by its length alone', async (t) => {
  const before = (await refusedOf())['protocol-violation'] ?? 0
  const rogue = await openRogue(stage.source)
  rogue.sendBytes(new Uint8Array(MAX_RELOCATION_FRAME_BYTES + 1))
  t.truthy(await rogue.ended)
  await eventually(async () => ((await refusedOf())['protocol-violation'] ?? 0) > before || undefined)
})

test('a plan that another signed is believed by nobody', async (t) => {
  const rogue = await openRogue(stage.source)
  const other = await openRogue(await stage.stranger())
  const plan = encodeBody('plan', { ...stage.request('web'), source: rogue.source, target: rogue.target })
  await refused(t, 'protocol-violation', 'PROTOCOL_VIOLATION', async () => {
    rogue.send({ kind: 'prepare', plan: await other.sign('plan', plan), dry: false })
    return rogue.hear('refused')
  })
})

test('a handover without moves, or with another root, starts nothing', async (t) => {
  const request = stage.request('web')
  await using empty = await stage.open(request)
  await empty.prepare(request, { dry: false })
  const nothing = { disks: [{ machine: 'web', disk: 'vda', root: formatRoot(new Uint8Array(32)) }] }
  await t.throwsAsync(verdictOf(empty.start(nothing, grantor())), { code: 'VERIFY_MISMATCH' })
  const handover = await stage.fill(request)
  await using target = await stage.open(request)
  await t.throwsAsync(verdictOf(target.start(nothing, grantor())), { code: 'VERIFY_MISMATCH' })
  await using lacking = await stage.open(request)
  await t.throwsAsync(verdictOf(lacking.start({ disks: [] }, grantor())), { code: 'VERIFY_MISMATCH' })
  t.is(await target.inquire(), 'prepared')
  t.deepEqual(await stage.cloud.machines(), [])
  // What lies there is good all the same.
  await using sound = await stage.open(request)
  t.true((await verdictOf(sound.start(handover, grantor()))).healthy)
  await gone(request)
  t.deepEqual(await stage.leftovers(), [])
})

test('a disk that was handed over is replaced by no move, nor when the machine is the target’s', async (t) => {
  const request = stage.request('web')
  const [{ destination }] = await placesOf(request)
  const handover = await stage.fill(request)
  t.is((await stage.move(destination)).state, 'complete', 'until then it may be')
  const again = await stage.move(destination)
  const disks = handover.disks.map((disk) => ({ ...disk, root: again.root! }))
  await using target = await stage.open(request)
  t.true((await verdictOf(target.start({ disks }, grantor()))).healthy)
  t.like(await stage.move(destination), { state: 'failed', error: { code: 'NAME_BUSY' } })
  await target.commit()
  await target.finalize()
  t.like(await stage.move(destination), { state: 'failed', error: { code: 'NAME_BUSY' } })
  await stage.cloud.stop('web', { graceMs: 0 })
  await stage.cloud.undefine('web', { disks: true })
  const next = stage.request('web')
  t.like(await stage.fill(next), { disks: [{ disk: 'vda' }] }, 'and it can come anew')
  await gone(next)
})

test('a commit before the verdict, and a second handover, are refused', async (t) => {
  const request = stage.request('web', { health: [{ kind: 'tcp', host: '127.0.0.1', port: 1025 }] })
  const handover = await stage.fill(request)
  await using early = await stage.open(request)
  await t.throwsAsync(early.commit(), { code: 'JOB_STATE' })
  const events = early.start(handover, grantor())
  for await (const event of events) if (event.kind === 'progress' && event.stage === 'checking') break
  await t.throwsAsync(early.commit(), { code: 'JOB_STATE' })
  await t.throwsAsync(early.finalize(), { code: 'JOB_STATE' })
  await using other = await stage.open(request)
  const [disk] = handover.disks
  const changed = { disks: [{ ...disk, root: formatRoot(new Uint8Array(32).fill(7)) }] }
  await t.throwsAsync(verdictOf(other.start(changed, grantor())), { code: 'JOB_STATE' })
  await gone(request)
  t.deepEqual(await stage.leftovers(), [])
})

/** Ways to lie about a lease, given what a true one would be. */
const LIES: Record<
  string,
  (
    rogue: RogueRelocation,
    asked: { relocation: string; nonce: Uint8Array },
  ) => Promise<{ body: Uint8Array; signature: Uint8Array }>
> = {
  'for a question that nobody asked': async (rogue, { relocation }) =>
    rogue.sign('term', encodeBody('term', { ...rogue, relocation, nonce: nonce(), leaseMs: LEASE_MS })),
  'of another relocation': async (rogue, { nonce: asked }) =>
    rogue.sign(
      'term',
      encodeBody('term', { ...rogue, relocation: 'ab'.repeat(16), nonce: asked, leaseMs: LEASE_MS }),
    ),
  'signed as something else': async (rogue, asked) =>
    rogue.sign('pledge', encodeBody('term', { ...rogue, ...asked, leaseMs: LEASE_MS })),
  'with a signature of nothing': async (rogue, asked) => ({
    body: encodeBody('term', { ...rogue, ...asked, leaseMs: LEASE_MS }),
    signature: new Uint8Array(64),
  }),
}

for (const [lie, make] of Object.entries(LIES)) {
  test(`a lease ${lie} lets nothing run`, async (t) => {
    const request = stage.request('web')
    const handover = await stage.fill(request)
    const rogue = await openRogue(stage.source)
    const plan = encodeBody('plan', { ...request, source: rogue.source, target: rogue.target })
    const final = encodeBody('final', {
      relocation: request.relocation,
      source: rogue.source,
      target: rogue.target,
      planDigest: bodyDigest(plan),
      disks: handover.disks,
    })
    rogue.send({ kind: 'handover', final: await rogue.sign('final', final) })
    const { message } = await rogue.hear('ask')
    if (message.kind !== 'ask') throw new Error('No question')
    const before = (await refusedOf())['protocol-violation'] ?? 0
    rogue.send({ kind: 'lease', term: await make(rogue, message) })
    t.truthy(await rogue.ended)
    t.not(await stage.cloud.state('web').catch(() => 'gone'), 'running')
    t.true(((await refusedOf())['protocol-violation'] ?? 0) > before)
    await gone(request)
    t.deepEqual(await stage.leftovers(), [])
  })
}

test('a lease is good once', async (t) => {
  const request = stage.request('web', { health: [{ kind: 'tcp', host: '127.0.0.1', port: 1025 }] })
  const handover = await stage.fill(request)
  const rogue = await openRogue(stage.source)
  const both = { relocation: request.relocation, source: rogue.source, target: rogue.target }
  const planDigest = bodyDigest(encodeBody('plan', { ...request, ...both }))
  const final = encodeBody('final', { ...both, planDigest, disks: handover.disks })
  rogue.send({ kind: 'handover', final: await rogue.sign('final', final) })
  const { message } = await rogue.hear('ask')
  if (message.kind !== 'ask') throw new Error('No question')
  const term = await rogue.sign(
    'term',
    encodeBody('term', { ...both, nonce: message.nonce, leaseMs: LEASE_MS }),
  )
  rogue.send({ kind: 'lease', term })
  await rogue.hear('ask')
  rogue.send({ kind: 'lease', term })
  t.truthy(await rogue.ended)
  const state = () => stage.cloud.state('web').catch(() => 'gone')
  await eventually(async () => (await state()) !== 'running' || undefined)
  await gone(request)
  t.deepEqual(await stage.leftovers(), [])
})

test('a flood of plans is answered with no, holds a bounded number, and the honest are served', async (t) => {
  const rogue = await openRogue(stage.source)
  const requests = Array.from({ length: 100 }, (_, i) => stage.request(`flood-${i}`))
  const bodies = await Promise.all(
    requests.map(async (request) =>
      rogue.sign('plan', encodeBody('plan', { ...request, source: rogue.source, target: rogue.target })),
    ),
  )
  for (const plan of bodies) rogue.send({ kind: 'prepare', plan, dry: false })
  let answered = 0
  let accepted = 0
  while (answered < bodies.length) {
    const { message } = await rogue.hear('answer', 'refused')
    answered++
    if (message.kind === 'answer' && message.accepted) accepted++
  }
  t.true(accepted <= MAX_ARRIVALS_PER_PEER)
  t.true((await refusedOf())['relocation-limit'] > 0)
  for (const request of requests.slice(0, 20)) {
    // Requests are given back in time.
    await eventually(async () =>
      gone(request).then(
        () => true,
        () => undefined,
      ),
    )
  }
  t.deepEqual(await stage.leftovers(), [])
})
