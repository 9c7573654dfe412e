/** One relocation at its target where its disk is full, its cloud does not answer, or no guard can be started. */
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import test from 'ava'
import { writeOrder } from '../../../agent/conduit/guard-files.ts'
import { Arrival } from '../../../agent/conduit/target-arrival.ts'
import { Arrivals } from '../../../agent/conduit/target-arrivals.ts'
import type { ArrivalParts } from '../../../agent/conduit/target-parts.ts'
import type { ArrivalRecord } from '../../../agent/conduit/target-record.ts'
import type { RelocationStream } from '../../../agent/conduit/target-stream.ts'
import { createIdentityKey, parseIdentity } from '../../../agent/identity.ts'
import { HeldPlaces } from '../../../agent/jobs/held-places.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { LEASE_MS } from '../../../protocol/limits.ts'
import type { RelocationMessage } from '../../../protocol/relocation-message.ts'
import { signBody } from '../../../protocol/relocation-signed.ts'
import { eventually } from '../../helpers/eventually.ts'
import { tempDir } from '../../helpers/temp-dir.ts'
import { memoryTable } from './scripted.ts'

const RELOCATION = 'ab'.repeat(16)
const BODY = { body: Buffer.from('body'), signature: Buffer.from('signature') }

/** An arrival in a state, with one machine in a cloud that is a word. */
async function arrivalIn(t: Parameters<typeof tempDir>[0], state: ArrivalRecord['state']) {
  const folder = await tempDir(t)
  const [identity, source] = await Promise.all(
    [0, 1].map(async () => parseIdentity(await createIdentityKey())),
  )
  const disk = { full: false }
  const machine = { state: 'paused', answers: true, did: [] as string[] }
  const become = (next: string) => async () => {
    machine.did.push(next)
    machine.state = next
  }
  const cloud = {
    supports: { pause: true },
    state: async () => {
      if (!machine.answers) throw new FluidError('CLOUD_FAILED', 'The cloud does not answer')
      return machine.state
    },
    machine: async () => {
      if (!machine.answers) throw new FluidError('CLOUD_FAILED', 'The cloud does not answer')
      throw new FluidError('MACHINE_UNKNOWN', 'There is none')
    },
    resume: become('running'),
    start: become('running'),
    pause: become('paused'),
  }
  const table = memoryTable<ArrivalRecord>()
  const parts = {
    identity,
    clouds: { cloud: async () => cloud },
    cloudsConfig: {},
    table: {
      ...table,
      put: async (...row: Parameters<typeof table.put>) => {
        if (disk.full) throw new FluidError('NO_SPACE', 'The disk is full')
        await table.put(...row)
      },
    },
    log: pino({ level: 'silent' }),
    folderOf: (relocation: string) => join(folder, relocation),
    removeFolder: async () => {},
    heldPlaces: new HeldPlaces(),
    jobs: () => [],
    cancelJobs: async () => {},
  } as unknown as ArrivalParts
  const planned = { machine: { name: 'web', disks: [] }, disks: [], steps: [] }
  const record = {
    relocation: RELOCATION,
    peer: source.peerId,
    createdAt: 1,
    touchedAt: Date.now(),
    state,
    request: { relocation: RELOCATION, machines: [planned], health: [], gateMs: 1000 },
    places: [],
    cloud: 'local',
    folder,
    made: ['web'],
    started: ['web'],
    evidence: { final: { body: '', signature: '' } },
  } as unknown as ArrivalRecord
  await table.put(RELOCATION, record)
  const guard = join(folder, RELOCATION, 'guard')
  const said: RelocationMessage[] = []
  const stream = {
    signal: new AbortController().signal,
    send: async (_: number, message: RelocationMessage) => void said.push(message),
  } as unknown as RelocationStream
  return { parts, table, record, disk, machine, guard, source, said, stream }
}

test('a commit that cannot be kept is refused, and is none', async (t) => {
  const { parts, table, record, disk } = await arrivalIn(t, 'healthy')
  const arrival = new Arrival(record, parts)
  disk.full = true
  await t.throwsAsync(arrival.commit(BODY), { code: 'NO_SPACE' })
  t.is(arrival.record.state, 'healthy')
  t.not(arrival.standing, 'committed')
  disk.full = false
  await arrival.commit(BODY)
  t.is(table.get(RELOCATION)?.state, 'committed')
})

test('what is ended as its verdict is signed is not told to be healthy', async (t) => {
  const { parts, table, record } = await arrivalIn(t, 'starting')
  const states: string[] = []
  const { sign } = parts.identity
  let ended: Promise<unknown> | undefined
  await using arrival = new Arrival(
    { ...record, made: [], started: [] },
    {
      ...parts,
      identity: {
        ...parts.identity,
        sign: async (bytes) => {
          ended ??= arrival.release('A person here said no')
          return await sign(bytes)
        },
      },
      table: {
        ...parts.table,
        put: async (key, value, options) => {
          states.push(value.state)
          await table.put(key, value, options)
        },
      },
    },
  )
  const timings = { adapting: 0, registering: 0, starting: 0, checking: 0 }
  await t.throwsAsync(arrival.conclude({ healthy: true, objections: [], timings }), {
    message: 'A person here said no',
  })
  await ended
  t.deepEqual(states, ['releasing', 'released'])
})

test('what goes wrong and cannot even be kept is told to a source that waits', async (t) => {
  const { parts, record, disk, said, stream } = await arrivalIn(t, 'adapting')
  await using arrival = new Arrival({ ...record, made: [], started: [] }, parts)
  disk.full = true
  await arrival.handOver(BODY, stream, 7, async () => {})
  const refused = await eventually(() => said.find(({ kind }) => kind === 'refused'))
  t.like(refused, { kind: 'refused', code: 'NO_SPACE' })
})

for (const [state, end] of [
  ['releasing', 'released'],
  ['committed', 'committed'],
] as const)
  test(`what is ${state} while the cloud does not answer is done as soon as it does`, async (t) => {
    const { parts, table, machine, guard } = await arrivalIn(t, state)
    await mkdir(guard, { recursive: true })
    await writeOrder(guard, { cloud: 'local', clouds: {}, machines: [] })
    machine.answers = false
    await using arrivals = await Arrivals.open(parts, {
      policy: { grantFor: () => undefined, onChange: () => ({ [Symbol.dispose]() {} }) },
      wake: () => {},
      sweepMs: 5,
    })
    const [arrival] = arrivals.list()
    await t.throwsAsync(arrival.recover(), { code: 'CLOUD_FAILED' })
    machine.answers = true
    await eventually(async () => !(await arrival.fence.exists()) || undefined)
    await eventually(() => table.get(RELOCATION)?.state === end || undefined)
    t.deepEqual(machine.did, state === 'committed' ? ['running'] : [])
  })

test('what was held does not run on by a lease before a guard watches again', async (t) => {
  const { parts, record, machine, guard, said, stream, source } = await arrivalIn(t, 'healthy')
  await mkdir(guard, { recursive: true })
  await using arrival = new Arrival(record, parts)
  await arrival.handOver(BODY, stream, 7, async () => {})
  const ask = await eventually(() => said.find((message) => message.kind === 'ask'))
  const term = { ...arrival.parties, nonce: ask.nonce, leaseMs: LEASE_MS }
  await arrival.lease(stream, await signBody('term', term, source.sign))
  t.true(arrival.holder?.letsRun)
  // A guard of no cloud that there is ends at once.
  await eventually(
    async () => (await readFile(join(guard, 'guard.log'), 'latin1').catch(() => '')) !== '' || undefined,
  )
  t.deepEqual(machine.did, [])
})
