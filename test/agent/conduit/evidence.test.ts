import { randomBytes } from 'node:crypto'
import test from 'ava'
import { evidenceReport, type Evidence } from '../../../agent/conduit/evidence.ts'
import { keptBody } from '../../../agent/conduit/target-record.ts'
import { createIdentityKey, parseIdentity } from '../../../agent/identity.ts'
import { bodyDigest, signBody } from '../../../protocol/relocation-signed.ts'

const ROOT = `b3:${'cd'.repeat(32)}`

/** What a relocation that is live leaves with its source. */
async function live(): Promise<Evidence & { sign: Awaited<ReturnType<typeof sides>>['target']['sign'] }> {
  const { source, target } = await sides()
  const relocation = randomBytes(16).toString('hex')
  const parties = { relocation, source: source.peerId, target: target.peerId }
  const machine = {
    name: 'web',
    architecture: 'x86_64',
    vcpus: 1,
    memoryBytes: 2 ** 20,
    firmware: 'bios',
    chipset: 'q35',
    disks: [
      { id: 'vda', path: '', format: 'raw', sizeBytes: 4096, boot: true, bus: 'virtio', readOnly: false },
    ],
    nics: [],
  } as const
  const disks = [{ id: 'vda', sizeBytes: 4096, allocatedBytes: 4096 }]
  const machines = [{ machine, disks, steps: [] }]
  const asked = { service: 'shop', live: true, machines, health: [], gateMs: 1000 }
  const plan = await signBody('plan', { ...parties, ...asked }, source.sign)
  const final = await signBody(
    'final',
    { ...parties, planDigest: bodyDigest(plan.body), disks: [{ machine: 'web', disk: 'vda', root: ROOT }] },
    source.sign,
  )
  const outcome = await signBody(
    'outcome',
    {
      ...parties,
      healthy: true,
      objections: [],
      timings: { adapting: 1, registering: 1, starting: 1, checking: 1 },
      finalDigest: bodyDigest(final.body),
    },
    target.sign,
  )
  const pledge = await signBody('pledge', parties, source.sign)
  const kept = {
    plan: keptBody(plan),
    final: keptBody(final),
    outcome: keptBody(outcome),
    pledge: keptBody(pledge),
  }
  return { ...parties, service: 'shop', side: 'source', state: 'live', evidence: kept, sign: target.sign }
}

async function sides() {
  return {
    source: parseIdentity(await createIdentityKey()),
    target: parseIdentity(await createIdentityKey()),
  }
}

test('evidenceReport() opens every body again and says what it says', async (t) => {
  const report = await evidenceReport(await live())
  t.deepEqual(
    report.bodies.map(({ kind, signer, says, valid }) => [kind, signer, says, valid]),
    [
      ['plan', 'source', 'asks to take web in', true],
      ['final', 'source', 'hands over web/vda of stopped machines', true],
      ['outcome', 'target', 'they run and are healthy', true],
      ['pledge', 'source', 'gives them up for good', true],
    ],
  )
  t.deepEqual(report.roots, [{ machine: 'web', disk: 'vda', root: ROOT }])
  t.true(report.signaturesValid)
})

test('evidenceReport() finds a signature that was changed, and one of another relocation', async (t) => {
  const kept = await live()
  const signature = Buffer.from(kept.evidence.pledge!.signature, 'base64')
  signature[3] ^= 1
  const changed = { ...kept.evidence.pledge!, signature: signature.toString('base64') }
  const broken = await evidenceReport({ ...kept, evidence: { ...kept.evidence, pledge: changed } })
  t.deepEqual(
    broken.bodies.filter(({ valid }) => !valid).map(({ kind }) => kind),
    ['pledge'],
  )
  t.false(broken.signaturesValid)
  const foreign = await evidenceReport({ ...kept, relocation: 'ab'.repeat(16) })
  t.true(foreign.bodies.every(({ valid }) => !valid))
})

test('evidenceReport() finds a verdict on another handover, and what is missing', async (t) => {
  const kept = await live()
  const { relocation, source, target, sign } = kept
  const timings = { adapting: 1, registering: 1, starting: 1, checking: 1 }
  const value = {
    relocation,
    source,
    target,
    healthy: true,
    objections: [],
    timings,
    finalDigest: randomBytes(32),
  }
  const outcome = keptBody(await signBody('outcome', value, sign))
  const other = await evidenceReport({ ...kept, evidence: { ...kept.evidence, outcome } })
  t.deepEqual(
    other.bodies.filter(({ valid }) => !valid).map(({ kind }) => kind),
    ['outcome'],
  )
  const { pledge: _, ...without } = kept.evidence
  t.like(await evidenceReport({ ...kept, evidence: without }), {
    missing: ['pledge'],
    signaturesValid: false,
  })
  await t.throwsAsync(evidenceReport({ ...kept, evidence: {} }), { code: 'JOB_STATE' })
})
