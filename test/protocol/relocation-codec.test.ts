import test from 'ava'
import fc from 'fast-check'
import { createIdentityKey, parseIdentity } from '../../agent/identity.ts'
import {
  MAX_HEALTH_CHECKS,
  MAX_MACHINE_DISKS,
  MAX_RELOCATION_BODY_BYTES,
  MAX_RELOCATION_FRAME_BYTES,
  MAX_STEP_BYTES,
} from '../../protocol/limits.ts'
import { decodeRelocation, encodeRelocation } from '../../protocol/relocation-codec.ts'
import type { Machine } from '../../protocol/machine.ts'
import type { Plan, RelocationMessage } from '../../protocol/relocation-message.ts'
import {
  decodeBody,
  encodeBody,
  openSigned,
  signBody,
  type BodyKind,
} from '../../protocol/relocation-signed.ts'
import { plain, violates } from './assertions.ts'
import { bodies, parties, plan, relocationFrames } from './relocation-samples.ts'

const [first] = plan.machines

/** The plan with something else about its machine. */
function planWith(change: Partial<Machine>, rest: Partial<Plan> = {}): Plan {
  return { ...plan, ...rest, machines: [{ ...first, machine: { ...first.machine, ...change }, disks: [] }] }
}

for (const frame of relocationFrames) {
  test(`encodeRelocation() round-trips ${frame.message.kind}`, (t) => {
    const bytes = encodeRelocation(frame)
    const read = decodeRelocation(bytes)
    bytes.fill(0xff)
    t.deepEqual(plain(read), plain(frame))
  })
}

for (const kind of Object.keys(bodies) as BodyKind[]) {
  test(`encodeBody() round-trips a ${kind}`, (t) => {
    t.deepEqual(plain(decodeBody(kind, encodeBody(kind, bodies[kind]))), plain(bodies[kind]))
  })
}

test('encodeBody() round-trips plans of every size of machine', (t) => {
  const names = fc.stringMatching(/^[a-z][a-z0-9.-]{0,20}$/)
  const machines = fc
    .uniqueArray(names, { minLength: 1, maxLength: 16 })
    .map((all) => all.map((name) => ({ ...first, machine: { ...first.machine, name } })))
  fc.assert(
    fc.property(machines, fc.boolean(), fc.integer({ min: 1, max: 1_800_000 }), (some, live, gateMs) => {
      const value = { ...plan, machines: some, live, gateMs }
      t.deepEqual(plain(decodeBody('plan', encodeBody('plan', value))), plain(value))
    }),
    { numRuns: 200 },
  )
})

const WRONG: Record<string, Plan> = {
  'a name that leads elsewhere': planWith({ name: '../web' }),
  'a name with a slash': planWith({ name: 'a/b' }),
  'a disk that leads elsewhere': planWith({ disks: [{ ...first.machine.disks[0], id: '../../etc' }] }),
  'two disks of one id': planWith({ disks: [first.machine.disks[0], first.machine.disks[0]] }),
  'too many disks': planWith({
    disks: Array.from({ length: MAX_MACHINE_DISKS + 1 }, (_, i) => ({
      ...first.machine.disks[0],
      id: `vd${i}`,
    })),
  }),
  'no processor': planWith({ vcpus: 0 }),
  'more memory than there is': planWith({ memoryBytes: 2 ** 53 - 1 }),
  'an unknown bus': planWith({ disks: [{ ...first.machine.disks[0], bus: 'floppy' as never }] }),
  'a MAC address in capitals': planWith({ nics: [{ ...first.machine.nics[0], mac: '52:54:00:AB:CD:EF' }] }),
  'a port that is none': planWith({
    nics: [{ ...first.machine.nics[0], forwards: [{ hostAddress: '::1', hostPort: 65_536, guestPort: 1 }] }],
  }),
  'what a driver needs as a list': planWith({ extra: [] as never }),
  'what a driver needs too deep': planWith({
    extra: { a: JSON.parse('['.repeat(40) + ']'.repeat(40)) as unknown },
  }),
  'no machine': { ...plan, machines: [] },
  'one machine twice': { ...plan, machines: [first, first] },
  'a moving disk that the machine lacks': {
    ...plan,
    machines: [{ ...first, disks: [{ id: 'vdz', sizeBytes: 1, allocatedBytes: 1 }] }],
  },
  'a Migrator with a path': {
    ...plan,
    machines: [{ ...first, steps: [{ migrator: '../run', version: '1.0.0', input: {} }] }],
  },
  'an input that is too long': {
    ...plan,
    machines: [{ ...first, steps: [{ migrator: 'a', version: '1.0.0', input: 'x'.repeat(MAX_STEP_BYTES) }] }],
  },
  'a check of a file': { ...plan, health: [{ kind: 'http', url: 'file:///etc/passwd' }] },
  'too many checks': {
    ...plan,
    health: Array.from(
      { length: MAX_HEALTH_CHECKS + 1 },
      () => ({ kind: 'tcp', host: 'a', port: 1 }) as const,
    ),
  },
  'no gate': { ...plan, gateMs: 0 },
  'a service that nobody can read': { ...plan, service: 'shop\u202e' },
  'a side that is no peer': { ...plan, source: 'me' },
}

for (const [name, wrong] of Object.entries(WRONG)) {
  test(`encodeBody() refuses a plan with ${name}`, (t) => violates(t, () => encodeBody('plan', wrong)))
}

test('encodeBody() refuses a plan longer than a body may be', (t) => {
  const steps = Array.from({ length: 5 }, () => ({
    migrator: 'a',
    version: '1.0.0',
    input: 'x'.repeat(MAX_STEP_BYTES - 2),
  }))
  violates(t, () => encodeBody('plan', { ...plan, machines: [{ ...first, steps }] }))
})

test('a body as long as it may be fits into a frame', (t) => {
  const body = new Uint8Array(MAX_RELOCATION_BODY_BYTES)
  const message: RelocationMessage = {
    kind: 'prepare',
    plan: { body, signature: new Uint8Array(64) },
    dry: true,
  }
  t.true(encodeRelocation({ request: 2 ** 32 - 1, message }).length <= MAX_RELOCATION_FRAME_BYTES)
})

test('decodeRelocation() ignores messages of a later version', (t) => {
  t.deepEqual(decodeRelocation(Uint8Array.of(0xa2, 0x06, 0x00)), { request: 0, message: { kind: 'unknown' } })
})

test('encodeRelocation() makes what a guest says printable, keeps its lines, and cuts them', (t) => {
  const diff = `-a\u001b[31m\n+b\tc\n${'x'.repeat(70_000)}`
  const { message } = decodeRelocation(
    encodeRelocation({
      request: 1,
      message: { kind: 'changed', relocation: parties.relocation, machine: 'a', path: '/etc/a', diff },
    }),
  )
  t.like(message, { diff: '-a [31m\n+b\tc' })
})

test('encodeBody() refuses outcomes that contradict themselves', (t) => {
  violates(t, () => encodeBody('outcome', { ...bodies.outcome, healthy: true }))
  violates(t, () => encodeBody('outcome', { ...bodies.outcome, objections: [] }))
})

test('openSigned() takes what its signer signed for these two, and nothing else', async (t) => {
  const [source, target, other] = await Promise.all(
    [0, 1, 2].map(async () => parseIdentity(await createIdentityKey())),
  )
  const between = { source: source.peerId, target: target.peerId }
  const value = { ...parties, ...between }
  const pledge = await signBody('pledge', value, source.sign)
  t.deepEqual(await openSigned('pledge', pledge, between), value)
  const refused = async (signed: typeof pledge, kind: BodyKind = 'pledge', sides = between) =>
    t.throwsAsync(openSigned(kind, signed, sides), { code: 'PROTOCOL_VIOLATION' })
  await refused(await signBody('pledge', value, target.sign))
  await refused(await signBody('pledge', value, other.sign))
  await refused(pledge, 'pledge', { source: target.peerId, target: source.peerId })
  await refused(pledge, 'pledge', { ...between, target: other.peerId })
  // The same bytes as another kind of body.
  await refused(pledge, 'release')
  await refused(await signBody('release', value, source.sign), 'release')
  await refused({ ...pledge, signature: pledge.signature.map((byte) => byte ^ 1) })
})
