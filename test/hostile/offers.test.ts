/** Offers of a paired sender that ask for more than they may, and jobs that end in a lie. */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import type { Offer } from '../../protocol/control-message.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import { MAX_VOLUME_BYTES } from '../../protocol/limits.ts'
import { eventually } from '../helpers/eventually.ts'
import { entriesOf, rootOf } from '../helpers/rogue-lane.ts'
import { talkOver, type RoguePeer } from '../helpers/rogue-peer.ts'
import { HELLO, greet, offerOf, openJob } from '../helpers/rogue-sender.ts'
import { EXISTING, openVictim, type Victim } from '../helpers/victim.ts'

const MiB = 1024 * 1024
const MAX_BYTES = 64 * MiB

interface Way {
  readonly title: string
  readonly changes: Partial<Offer>
  /** The reason of the refusal; undefined: the stream is ended, for the offer is no offer. */
  readonly code?: ErrorCode
}

const named = (title: string, destination: string): Way => ({
  title: `to ${title}`,
  changes: { destination },
  code: 'NAME_INVALID',
})

const WAYS: readonly Way[] = [
  { title: 'of 2^53 bytes', changes: { sizeBytes: 2 ** 53 } },
  { title: 'of 2^60 bytes', changes: { sizeBytes: 2 ** 60 } },
  { title: 'that holds 2^53 bytes', changes: { allocatedBytes: 2 ** 53 } },
  { title: 'of the largest volume there is', changes: { sizeBytes: MAX_VOLUME_BYTES }, code: 'TOO_LARGE' },
  { title: 'of one byte more than the grant', changes: { sizeBytes: MAX_BYTES + 1 }, code: 'TOO_LARGE' },
  {
    title: 'that holds more than the disk has free',
    changes: { allocatedBytes: MAX_VOLUME_BYTES },
    code: 'NO_SPACE',
  },
  named('a folder above', '../disk.raw'),
  named('a folder above, in the midst of the name', 'a/../../disk.raw'),
  named('an absolute path', '/etc/cron.d/disk'),
  named('a hidden file', '.bashrc'),
  named('a hidden folder', 'a/.ssh/authorized_keys'),
  named('a name with a backslash', 'a\\b.raw'),
  named('an empty part', 'a//b.raw'),
  named('a folder', 'a/'),
  named('a dot', '.'),
  named('a name of 300 bytes', 'n'.repeat(300)),
  { title: 'to a name with NUL', changes: { destination: 'disk.raw\0.txt' } },
  { title: 'to a name with a terminal escape', changes: { destination: '\u001b]0;owned\u0007.raw' } },
  { title: 'to a name with a line feed', changes: { destination: 'a\nb.raw' } },
  { title: 'to a name that reads backwards', changes: { destination: 'disk\u202ewar.raw' } },
  { title: 'to a name of 2000 bytes', changes: { destination: `${'n/'.repeat(1000)}n` } },
  { title: 'to no name', changes: { destination: '' } },
  {
    title: 'over an existing file without saying so',
    changes: { destination: EXISTING },
    code: 'NAME_EXISTS',
  },
  { title: 'through a symbolic link', changes: { destination: 'link/disk.raw' }, code: 'NAME_INVALID' },
  { title: 'over a symbolic link', changes: { destination: 'link', replace: true }, code: 'NAME_INVALID' },
  { title: 'in a format nobody writes', changes: { targetFormat: 'vhdx' }, code: 'FORMAT_UNSUPPORTED' },
  { title: 'in a format that is a path', changes: { targetFormat: '../../x' } },
  {
    title: 'with a chunking nobody knows',
    changes: { chunkings: ['rabin-v9/1'] },
    code: 'VERSION_UNSUPPORTED',
  },
  { title: 'with a codec nobody knows', changes: { codecs: ['rle'] }, code: 'VERSION_UNSUPPORTED' },
  { title: 'without an endpoint', changes: { endpoint: undefined }, code: 'PROTOCOL_VIOLATION' },
  { title: 'with a job id of 4 bytes', changes: { job: randomBytes(4) } },
  { title: 'for no lanes', changes: { lanes: 0 } },
  {
    title: 'with an address that is a path',
    changes: { endpoint: endpoint({ addresses: ['/run/agent.sock'] }) },
  },
  { title: 'with a token of 3 bytes', changes: { endpoint: endpoint({ token: randomBytes(3) }) } },
  {
    title: 'with a certificate of 100 kB',
    changes: { endpoint: endpoint({ certificate: randomBytes(100_000) }) },
  },
  {
    title: 'with 1000 addresses',
    changes: { endpoint: endpoint({ addresses: Array<string>(1000).fill('127.0.0.1:1') }) },
  },
]

function endpoint(changes: Partial<NonNullable<Offer['endpoint']>>): NonNullable<Offer['endpoint']> {
  return { addresses: [], token: randomBytes(16), certificate: randomBytes(400), ...changes }
}

let victim: Victim
let rogue: RoguePeer & { readonly folder: string }

test.before(async () => {
  victim = await openVictim()
  rogue = await victim.rogue({ maxBytes: MAX_BYTES })
  await symlink('/tmp', join(rogue.folder, 'link'))
})
test.after.always(() => victim[Symbol.asyncDispose]())

async function offer(changes: Partial<Offer>, from: RoguePeer = rogue) {
  const talk = await greet(from)
  const { kind: _, ...wire } = { kind: 'offer', ...offerOf(from, changes) }
  talk.sendUnchecked({
    offer: {
      ...wire,
      chunkings: [...wire.chunkings],
      codecs: [...wire.codecs],
      compression: 0,
      endpoint: wire.endpoint && { ...wire.endpoint, addresses: [...wire.endpoint.addresses] },
    },
  })
  return talk
}

for (const { title, changes, code } of WAYS) {
  test.serial(`an offer ${title} is refused, and writes nothing`, async (t) => {
    const before = { files: await victim.files(), folder: await readdir(rogue.folder) }
    const talk = await offer(changes)
    if (code) {
      const said = await eventually(() =>
        talk.heard.find(({ kind }) => kind === 'refusal' || kind === 'status'),
      )
      const codes =
        said.kind === 'refusal'
          ? said.reasons.map((reason) => reason.code)
          : [said.kind === 'status' && said.code]
      t.true(codes.includes(code), codes.join())
    }
    await talk.ended
    t.false(talk.heard.some(({ kind }) => kind === 'agreement'))
    t.deepEqual(await readdir(rogue.folder), before.folder)
    t.deepEqual(await victim.files(), before.files)
    await victim.serves(t)
  })
}

test.serial('an offer of a job that another peer began is refused', async (t) => {
  const mine = await openJob(rogue, victim.dataPort)
  const thief = await victim.rogue()
  const talk = await offer({ job: Buffer.from(mine.id, 'hex') }, thief)
  t.like(await talk.hear('status'), { code: 'POLICY_DENIED', fatal: true })
  t.is((await victim.job(mine.id))?.peer, rogue.peerId)
  mine.talk.send({ kind: 'cancel', reason: 'done' })
  await mine.talk.ended
})

test.serial('an offer of a job without a grant is refused', async (t) => {
  const nobody = await victim.rogue()
  await victim.agent.api.policySet({ peer: nobody.peerId, deny: true })
  const talk = await offer({ destination: EXISTING }, nobody)
  const { reasons } = await talk.hear('refusal')
  // It learns nothing of what lies here either.
  t.deepEqual(
    reasons.map(({ code }) => code),
    ['POLICY_DENIED'],
  )
})

const ALTERED: readonly { title: string; changes: Partial<Offer> }[] = [
  { title: 'another destination', changes: { destination: 'other.raw' } },
  { title: 'another size', changes: { sizeBytes: 2 * MiB } },
  { title: 'leave to replace', changes: { replace: true } },
]

for (const { title, changes } of ALTERED) {
  test.serial(`a job that a person approved is not begun again with ${title}`, async (t) => {
    const asked = await victim.rogue({ approve: 'ask' })
    const job = randomBytes(16)
    const talk = await offer({ job, destination: 'asked.raw' }, asked)
    await talk.hear('pending')
    await victim.agent.api.resume({ job: job.toString('hex') })
    await talk.hear('agreement')
    talk.abort()
    const again = await offer({ job, destination: 'asked.raw', ...changes }, asked)
    t.is((await again.hear('refusal')).reasons[0].code, 'JOB_STATE')
    t.deepEqual(
      (await readdir(asked.folder)).filter((name) => !name.startsWith('.')),
      [EXISTING],
    )
  })
}

const bytes = randomBytes(100_000)
const entries = entriesOf([{ offset: 0, bytes }])

test.serial('a complete with another root fails the job, and nothing of it is left', async (t) => {
  const job = await openJob(rogue, victim.dataPort, { sizeBytes: MiB, destination: 'lie.raw' })
  using lane = await job.lane()
  lane.have(1, 0, MiB, entries)
  await lane.hear('want')
  lane.data(1, 0, 1, bytes)
  await job.talk.hear('checkpoint')
  lane.write({ bye: {} })
  lane.sendBytes(new Uint8Array(8))
  job.complete(randomBytes(32))
  await job.talk.ended
  t.like(await victim.job(job.id), { state: 'failed', error: { code: 'VERIFY_MISMATCH' } })
  t.deepEqual(
    (await readdir(rogue.folder)).filter((name) => name.includes('lie')),
    [],
  )
  await victim.serves(t)
})

test.serial('a complete before everything is there fails the job, whatever its root', async (t) => {
  const job = await openJob(rogue, victim.dataPort, { sizeBytes: MiB, destination: 'early.raw' })
  job.complete(rootOf(MiB, job.agreement.chunking, entries))
  await job.talk.ended
  t.like(await victim.job(job.id), { state: 'failed', error: { code: 'VERIFY_MISMATCH' } })
  t.deepEqual(
    (await readdir(rogue.folder)).filter((name) => name.includes('early')),
    [],
  )
})

/** A job of which the first window, of bytes that no index knows, is announced and wanted, and complete is said already. */
async function completeAhead(destination: string, sizeBytes: number) {
  const own = randomBytes(100_000)
  const chunks = entriesOf([{ offset: 0, bytes: own }])
  const job = await openJob(rogue, victim.dataPort, { sizeBytes, destination })
  const lane = await job.lane()
  lane.have(1, 0, Math.min(sizeBytes, 4 * MiB), chunks)
  await lane.hear('want')
  job.complete(rootOf(sizeBytes, job.agreement.chunking, chunks))
  return { own, job, lane }
}

test.serial('a complete may come ahead of what was sent: the receipt waits for that', async (t) => {
  const { own, job, lane } = await completeAhead('ahead.raw', MiB)
  using _lane = lane
  await eventually(async () => ((await victim.job(job.id))?.state === 'running' ? true : undefined))
  t.false(job.talk.heard.some(({ kind }) => kind === 'receipt' || kind === 'checkpoint'))
  lane.data(1, 0, 1, own)
  lane.write({ bye: {} })
  lane.sendBytes(new Uint8Array(8))
  await job.talk.hear('receipt')
  const kinds = job.talk.heard.map(({ kind }) => kind)
  t.true(kinds.indexOf('checkpoint') < kinds.indexOf('receipt'))
  t.deepEqual((await readFile(join(rogue.folder, 'ahead.raw'))).subarray(0, own.length), own)
  job.talk.abort()
})

test.serial('a sender that cancels while what it sent is awaited ends the job', async (t) => {
  const { job, lane } = await completeAhead('withdrawn.raw', MiB)
  using _lane = lane
  job.talk.send({ kind: 'cancel', reason: 'on second thoughts' })
  await job.talk.ended
  await eventually(async () => ((await victim.job(job.id))?.state === 'cancelled' ? true : undefined))
  t.deepEqual(
    (await readdir(rogue.folder)).filter((name) => name.includes('withdrawn')),
    [],
  )
})

test.serial('a complete ahead of windows that never come fails the job when the lanes end', async (t) => {
  const { own, job, lane } = await completeAhead('half.raw', 8 * MiB)
  using _lane = lane
  lane.data(1, 0, 1, own)
  lane.write({ bye: {} })
  lane.sendBytes(new Uint8Array(8))
  await job.talk.ended
  t.like(await victim.job(job.id), { state: 'failed', error: { code: 'VERIFY_MISMATCH' } })
})

test.serial('an offer may come together with the hello', async (t) => {
  const talk = talkOver(await rogue.open(VIADUCT_PROTOCOL))
  talk.send({ kind: 'hello', ...HELLO })
  talk.send({ kind: 'offer', ...offerOf(rogue) })
  await talk.hear('agreement')
  t.is(talk.heard[0].kind, 'hello')
  talk.abort()
})

const OLDER = { ...HELLO, minor: 0 }

test.serial('only a sender that can compare blocks is asked to', async (t) => {
  const id = randomBytes(16)
  const changes = { job: id, destination: 'asked.raw' }
  const first = await openJob(rogue, victim.dataPort, changes)
  const lane = await first.lane()
  lane.have(1, 0, MiB, entriesOf([{ offset: 0, bytes }]))
  t.false('based' in (await lane.hear('want')).message)
  lane.data(1, 0, 1, bytes)
  await first.talk.hear('checkpoint')
  // The volume changed meanwhile; what was written lies in its place.
  const changed = { ...changes, snapshot: 'two' }
  const entries = entriesOf([{ offset: 0, bytes: randomBytes(bytes.length) }])
  for (const [hello, based] of [
    [OLDER, undefined],
    [HELLO, true],
  ] as const) {
    const job = await openJob(rogue, victim.dataPort, changed, hello)
    t.is(job.agreement.minor, hello.minor)
    const other = await job.lane()
    other.have(1, 0, MiB, entries)
    t.is((await other.hear('want')).message.based, based)
    job.talk.abort()
    other[Symbol.dispose]()
  }
})

test.serial('a place written twice is read back before a receipt is signed for it', async (t) => {
  const id = randomBytes(16)
  const changes = { job: id, sizeBytes: 8 * MiB, destination: 'twice.raw' }
  const two = [bytes, randomBytes(50_000), randomBytes(50_000)]
  const sound = entriesOf([{ offset: 0, bytes: two[0] }])
  const first = await openJob(rogue, victim.dataPort, changes)
  const lane = await first.lane()
  lane.have(1, 0, 4 * MiB, sound)
  await lane.hear('want')
  lane.data(1, 0, 1, bytes)
  await first.talk.hear('checkpoint')
  first.talk.abort()
  lane[Symbol.dispose]()
  // What is durable is announced anew as something else, of which one half comes.
  const second = await openJob(rogue, victim.dataPort, changes, OLDER)
  const other = await second.lane()
  other.have(
    1,
    0,
    4 * MiB,
    entriesOf([
      { offset: 0, bytes: two[1] },
      { offset: 50_000, bytes: two[2] },
    ]),
  )
  await other.hear('want')
  other.data(1, 0, 1, two[1])
  const staged = join(rogue.folder, `.twice.raw.${second.id}.part`)
  await eventually(async () =>
    (await readFile(staged)).subarray(0, 50_000).equals(two[1]) ? true : undefined,
  )
  second.talk.abort()
  other[Symbol.dispose]()
  const third = await openJob(rogue, victim.dataPort, changes)
  const last = await third.lane()
  last.have(1, 4 * MiB, 8 * MiB, new Uint8Array())
  await third.talk.hear('checkpoint')
  last.write({ bye: {} })
  last.sendBytes(new Uint8Array(8))
  third.complete(rootOf(8 * MiB, third.agreement.chunking, sound))
  await third.talk.ended
  t.false(third.talk.heard.some(({ kind }) => kind === 'receipt'))
  t.like(await victim.job(third.id), { state: 'failed', error: { code: 'VERIFY_MISMATCH' } })
})

test.serial('a name that is taken while the job runs is not overwritten', async (t) => {
  const job = await openJob(rogue, victim.dataPort, { sizeBytes: MiB, destination: 'taken.raw' })
  using lane = await job.lane()
  lane.have(1, 0, MiB, entries)
  await lane.hear('want')
  lane.data(1, 0, 1, bytes)
  await job.talk.hear('checkpoint')
  await writeFile(join(rogue.folder, 'taken.raw'), 'mine')
  lane.write({ bye: {} })
  lane.sendBytes(new Uint8Array(8))
  job.complete(rootOf(MiB, job.agreement.chunking, entries))
  await job.talk.ended
  t.is((await victim.job(job.id))?.error?.code, 'NAME_EXISTS')
  t.is(await readFile(join(rogue.folder, 'taken.raw'), 'utf8'), 'mine')
})

test.serial('a folder swapped for a symbolic link while the job runs leads nowhere', async (t) => {
  const outside = join(rogue.folder, '..', '..', 'outside')
  const job = await openJob(rogue, victim.dataPort, { sizeBytes: MiB, destination: 'sub/deep/disk.raw' })
  using lane = await job.lane()
  lane.have(1, 0, MiB, entries)
  await lane.hear('want')
  await rename(join(rogue.folder, 'sub'), join(rogue.folder, 'moved'))
  await mkdir(join(outside, 'deep'))
  await symlink(outside, join(rogue.folder, 'sub'))
  lane.data(1, 0, 1, bytes)
  await job.talk.hear('checkpoint')
  lane.write({ bye: {} })
  lane.sendBytes(new Uint8Array(8))
  job.complete(rootOf(MiB, job.agreement.chunking, entries))
  await eventually(() => job.talk.heard.find(({ kind }) => kind === 'receipt' || kind === 'status'))
  t.deepEqual(await readdir(join(outside, 'deep')), [])
  t.true((await readdir(join(rogue.folder, 'moved', 'deep'))).includes('disk.raw'))
  job.talk.abort()
})
