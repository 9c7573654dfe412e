/** What a grant covers and nothing else: other tenants' chunks and jobs, and what happens when it is taken away. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { eventually } from '../helpers/eventually.ts'
import { entriesOf } from '../helpers/rogue-lane.ts'
import type { RoguePeer } from '../helpers/rogue-peer.ts'
import { greet, moveChunk, openJob } from '../helpers/rogue-sender.ts'
import { EXISTING, openVictim, type Victim } from '../helpers/victim.ts'

const MiB = 1024 * 1024

let victim: Victim
test.before(async () => {
  victim = await openVictim()
})
test.after.always(() => victim[Symbol.asyncDispose]())

/** True when the agent says that it holds the chunk. */
async function isHeld(rogue: RoguePeer, bytes: Uint8Array): Promise<boolean> {
  const job = await openJob(rogue, victim.dataPort, { sizeBytes: MiB })
  using lane = await job.lane()
  lane.have(1, 0, MiB, entriesOf([{ offset: 0, bytes }]))
  const { payload } = await lane.hear('want')
  job.talk.send({ kind: 'cancel', reason: 'asked' })
  await job.talk.ended
  return payload[0] === 0
}

test.serial('a have of another tenant’s chunk is answered as if nobody held it', async (t) => {
  const [tenant, rogue] = [await victim.rogue(), await victim.rogue()]
  const secret = randomBytes(102_400)
  await moveChunk(tenant, victim.dataPort, secret)
  t.true(await isHeld(tenant, secret), 'Its own tenant finds it')
  t.false(await isHeld(rogue, secret))
})

test.serial('a have of a chunk that only lies about in the granted folder finds nothing', async (t) => {
  const rogue = await victim.rogue()
  const secret = randomBytes(102_400)
  await writeFile(join(rogue.folder, 'theirs.raw'), secret)
  t.false(await isHeld(rogue, secret))
})

test.serial('a have of a seed’s chunk finds it, for whoever asks', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'fct-'))
  t.teardown(() => rm(folder, { recursive: true }))
  // Shorter than any chunk is cut, so that it is one.
  const seed = randomBytes(20_480)
  await writeFile(join(folder, 'image.raw'), seed)
  for await (const _progress of victim.agent.api.seedAdd({ folder }));
  t.true(await isHeld(await victim.rogue(), seed))
})

test.serial(
  'a verify-request for another tenant’s job, or one that never was, is answered the same',
  async (t) => {
    const [tenant, rogue] = [await victim.rogue(), await victim.rogue()]
    const job = Buffer.from(await moveChunk(tenant, victim.dataPort, randomBytes(4096)), 'hex')
    const answers = []
    for (const id of [job, randomBytes(16)]) {
      const talk = await greet(rogue)
      talk.send({ kind: 'verify-request', job: id, deep: true })
      answers.push(await talk.hear('verify-result'))
    }
    t.deepEqual(answers[0], answers[1])
    t.is(answers[0].root, undefined)
    t.is(answers[0].error?.code, 'JOB_UNKNOWN')
  },
)

test.serial('a verify-request after the grant was taken away is refused', async (t) => {
  const tenant = await victim.rogue()
  const job = Buffer.from(await moveChunk(tenant, victim.dataPort, randomBytes(4096)), 'hex')
  await victim.agent.api.policySet({ peer: tenant.peerId, deny: true })
  const talk = await greet(tenant)
  talk.send({ kind: 'verify-request', job, deep: false })
  t.like(await talk.hear('verify-result'), { root: undefined, error: { code: 'POLICY_DENIED' } })
})

/** `cut`: the connection goes with it, so nothing is said. */
const TAKEN: readonly {
  title: string
  cut?: true
  take(rogue: RoguePeer & { folder: string }): Promise<unknown>
}[] = [
  { title: 'policy denies it', take: ({ peerId: peer }) => victim.agent.api.policySet({ peer, deny: true }) },
  {
    title: 'policy grants less',
    take: ({ peerId: peer }) => victim.agent.api.policySet({ peer, maxBytes: 1000 }),
  },
  {
    title: 'policy grants another folder',
    take: ({ peerId: peer, folder }) => victim.agent.api.policySet({ peer, folder: join(folder, 'new') }),
  },
  {
    title: 'its peer is removed',
    cut: true,
    take: ({ peerId: peer }) => victim.agent.api.pairRemove({ peer }),
  },
]

for (const { title, cut, take } of TAKEN) {
  test.serial(`a job under way stops when ${title}`, async (t) => {
    const rogue = await victim.rogue()
    const bytes = randomBytes(102_400)
    const job = await openJob(rogue, victim.dataPort, { sizeBytes: 8 * MiB })
    using lane = await job.lane()
    lane.have(1, 0, 4 * MiB, entriesOf([{ offset: 0, bytes }]))
    await lane.hear('want')
    await take(rogue)
    if (!cut) t.like(await job.talk.hear('status'), { code: 'POLICY_DENIED', fatal: true })
    await Promise.all([job.talk.ended, lane.closed])
    lane.data(1, 0, 1, bytes)
    await eventually(async () => ((await victim.job(job.id))?.state === 'running' ? undefined : true))
    t.is((await victim.job(job.id))?.doneBytes, 0)
    if (!cut) t.is((await victim.job(job.id))?.state, 'failed')
    t.deepEqual(
      (await readdir(rogue.folder)).filter((name) => name.endsWith('.raw')),
      [EXISTING],
    )
    await victim.serves(t)
  })
}
