import { join } from 'node:path'
import { pino } from 'pino'
import test from 'ava'
import { Arrivals } from '../../../agent/conduit/target-arrivals.ts'
import type { ArrivalParts } from '../../../agent/conduit/target-parts.ts'
import type { ArrivalRecord } from '../../../agent/conduit/target-record.ts'
import { HeldPlaces } from '../../../agent/jobs/held-places.ts'
import { createIdentityKey, parseIdentity } from '../../../agent/identity.ts'
import type { Grant } from '../../../agent/pairing/policy.ts'
import { RELOCATE_DEFAULTS } from '../../../protocol/relocate-grant.ts'
import { eventually } from '../../helpers/eventually.ts'
import { tempDir } from '../../helpers/temp-dir.ts'
import { memoryTable } from './scripted.ts'

const RELOCATION = 'ab'.repeat(16)

test('a plan that a person is asked about is kept as long as its source waits, and no longer', async (t) => {
  const folder = await tempDir(t)
  const identity = parseIdentity(await createIdentityKey())
  const { peerId: source } = parseIdentity(await createIdentityKey())
  const cloud = { kind: 'local', supports: { pause: true, formats: ['raw'], firmware: ['bios'] } }
  const parts = {
    identity,
    clouds: { cloud: async () => ({ ...cloud, machines: async () => [] }) },
    cloudsConfig: {},
    table: memoryTable<ArrivalRecord>(),
    writableFormats: ['raw'],
    log: pino({ level: 'silent' }),
    folderOf: (relocation: string) => join(folder, relocation),
    removeFolder: async () => {},
    heldPlaces: new HeldPlaces(),
    jobs: () => [],
    departures: async () => [],
    cancelJobs: async () => {},
  } as unknown as ArrivalParts
  const grant: Grant = {
    id: 'ab',
    folder,
    maxBytes: 0,
    approve: 'ask',
    targets: {},
    relocate: { cloud: 'local', ...RELOCATE_DEFAULTS },
  }
  await using arrivals = await Arrivals.open(parts, {
    policy: { grantFor: () => grant, onChange: () => ({ [Symbol.dispose]() {} }) },
    wake: () => {},
    sweepMs: 5,
    expiryMs: 20,
  })
  const line = new AbortController()
  const asked = Promise.withResolvers<void>()
  const plan = {
    relocation: RELOCATION,
    source,
    target: identity.peerId,
    service: 'web',
    live: false,
    machines: [],
    health: [],
    gateMs: 1000,
  }
  const signed = { body: Buffer.from('plan'), signature: Buffer.from('signature') }
  const answer = arrivals.prepare(
    source,
    grant,
    { plan, signed, dry: false },
    { signal: line.signal, onPending: async () => asked.resolve() },
  )
  await asked.promise
  const [{ record }] = arrivals.list()
  const waitsSince = Date.now()
  await eventually(() => Date.now() - waitsSince > 100 || undefined)
  t.is(record.state, 'awaiting')
  line.abort(new Error('The line is cut'))
  await t.throwsAsync(answer, { message: 'The line is cut' })
  await eventually(() => record.state === 'released' || undefined)
  t.regex(record.reason ?? '', /Nothing was heard/)
})
