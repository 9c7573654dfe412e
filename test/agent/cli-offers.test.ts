import { EventEmitter } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import type { FluidError } from '../../protocol/errors.ts'
import type { CallOptions } from '../../agent/api.ts'
import type { MatchReport } from '../../agent/reports/offer-reports.ts'
import { openFakeSite, type FakeSite } from '../helpers/command-line.ts'
import {
  FAKE_BROKER_ID,
  FAKE_PEER_ID,
  failing,
  fakeCandidate,
  fakeMatch,
  fakeOffer,
  fakeOwnOffer,
  fakeUnfit,
  stream,
  streamUntilAborted,
  type FakeAnswers,
} from '../helpers/fake-agent.ts'

const BROKER = `/ip4/192.0.2.9/tcp/4001/p2p/${FAKE_BROKER_ID}`

async function site(files: Record<string, string> = {}, answers?: FakeAnswers): Promise<FakeSite> {
  const opened = await openFakeSite(answers)
  for (const [name, text] of Object.entries(files)) await writeFile(join(opened.folder, name), text)
  return opened
}

test('offers publish gives the agent the file and the brokers, and tells what became of it', async (t) => {
  await using at = await site({ 'offer.toml': 'provider = "Alpine Cloud"' })
  const { exit, lines } = await at.run(['offers', 'publish', 'offer.toml', '--broker', BROKER, '--json'])
  t.is(exit, 0)
  t.like(lines[0], { type: 'offer', offer: fakeOffer.offer, peer: FAKE_PEER_ID, provider: 'Alpine Cloud' })
  t.deepEqual(at.calls[0], [
    'offersPublish',
    { text: 'provider = "Alpine Cloud"', file: join(at.folder, 'offer.toml'), brokers: [BROKER] },
  ])
})

test('offers publish refuses a wrong file before anybody is asked', async (t) => {
  await using at = await site({ 'offer.toml': 'provider = "A"\nprize = 1' })
  const { exit, stderr } = await at.run(['offers', 'publish', 'offer.toml'])
  t.is(exit, 2)
  t.regex(stderr, /prize[^]*Did you mean price/)
  t.is((await at.run(['offers', 'publish', 'none.toml'])).exit, 2)
  t.deepEqual(at.calls, [])
})

test('offers and offers list print one line an offer, and say whom they did without', async (t) => {
  const failures = [{ broker: 'other', code: 'TIMEOUT', message: 'It took too long' }] as const
  await using at = await site(
    {},
    {
      offersList: () => stream({ offers: [fakeOffer], brokers: [FAKE_BROKER_ID], failures }),
    },
  )
  const { lines } = await at.run(['offers', '--json', '--broker', BROKER])
  const { offer, peer, provider, expiresAt, broker } = fakeOffer
  t.deepEqual(lines, [{ v: 1, type: 'offer', offer, peer, provider, expiresAt, broker }])
  t.deepEqual(at.calls[0], ['offersList', { brokers: [BROKER] }])
  const { stdout, stderr } = await at.run(['offers', 'list'])
  t.regex(stdout, /a0a1a2a3 +Alpine Cloud +ch-gva-2, CH +qemu/)
  t.regex(stderr, /Without the broker other: It took too long \(TIMEOUT\)/)
})

test('offers list --own asks no broker', async (t) => {
  await using at = await site()
  const { lines } = await at.run(['offers', 'list', '--own', '--json'])
  t.like(lines[0], { type: 'offer', offer: fakeOwnOffer.offer, peer: FAKE_PEER_ID, renewed: true })
  t.false(at.calls.some(([call]) => call === 'offersList'))
})

test('offers withdraw exits 3 while no broker knows', async (t) => {
  await using at = await site()
  t.is((await at.run(['offers', 'withdraw', 'a0a1'])).exit, 0)
  await using away = await site({}, { offersWithdraw: async () => ({ ...fakeOwnOffer, brokers: [] }) })
  t.is((await away.run(['offers', 'withdraw', 'a0a1'])).exit, 3)
})

test('match prints one line a candidate, those that fail last, with what cli.md promises', async (t) => {
  await using at = await site(
    { 'request.toml': 'need = { vcpus = 2 }' },
    {
      match: () =>
        stream({ ...fakeMatch, candidates: [fakeCandidate] }, { ...fakeMatch, candidates: [fakeUnfit] }),
    },
  )
  const { exit, lines } = await at.run(['match', 'request.toml', '--broker', BROKER, '--json'])
  t.is(exit, 0)
  t.like(lines[0], {
    type: 'match',
    rank: 1,
    peer: FAKE_PEER_ID,
    provider: 'Alpine Cloud',
    offer: fakeCandidate.offer,
    score: 0.83,
    terms: { price: 0.83 },
    cost: { moveOnce: 0.54, perMonth: 38.96 },
    etaSeconds: 515.4,
    failed: [],
  })
  t.like(lines[1], {
    type: 'match',
    rank: null,
    failed: [{ need: 'jurisdiction', wanted: ['CH', 'EU'], offered: 'US' }],
  })
  t.is(lines.length, 2)
  const { stdout } = await at.run(['match', 'request.toml'])
  t.regex(stdout, /1 offer of 2 fits\n.*SCORE.*\n1 +Alpine Cloud +ch-gva-2, CH +0\.83 +0\.83 +38\.96 EUR/)
  t.regex(stdout, /Harbour Cloud \(us-east, US\): jurisdiction CH\/EU is wanted, US offered/)
})

test('match says how Migrators lead to a candidate, or why none do', async (t) => {
  const step = { from: 'disk/qcow2', to: 'disk/raw', migrator: 'convert', version: '1.0.0' }
  const steps = [{ ...step, peer: FAKE_PEER_ID, provider: 'Alpine Cloud', offer: fakeCandidate.offer }]
  const candidates = [
    { ...fakeUnfit, chain: { steps } },
    { ...fakeUnfit, chain: { steps: [], reason: 'nothing accepts disk/vhd' } },
  ]
  await using at = await site({ 'request.toml': '' }, { match: () => stream({ ...fakeMatch, candidates }) })
  const { stdout } = await at.run(['match', 'request.toml'])
  t.regex(stdout, /Migrators lead there: disk\/qcow2 to disk\/raw by convert 1\.0\.0 at Alpine Cloud/)
  t.regex(stdout, /no Migrators lead there: nothing accepts disk\/vhd/)
})

test('match exits 7 when nothing fits, after it said why', async (t) => {
  const nothing: MatchReport = { ...fakeMatch, fitting: 0, candidates: [fakeUnfit] }
  await using at = await site({ 'request.toml': '' }, { match: () => stream(nothing) })
  const { exit, lines } = await at.run(['match', 'request.toml', '--json'])
  t.is(exit, 7)
  t.deepEqual(
    lines.map(({ type }) => type),
    ['match', 'error'],
  )
  t.like(lines[1], { code: 'NO_MATCH', exit: 7 })
  await using empty = await site(
    { 'request.toml': '' },
    {
      match: () => stream({ ...nothing, considered: 0, candidates: [] }),
    },
  )
  const { stderr, exit: none } = await empty.run(['match', 'request.toml'])
  t.is(none, 7)
  t.regex(stderr, /There is no offer at one broker/)
})

test('match refuses a wrong request before anybody is asked, and passes on what brokers fail with', async (t) => {
  await using at = await site(
    { 'wrong.toml': 'need = { cpus = 2 }', 'request.toml': '' },
    { match: () => failingStream('PEER_UNREACHABLE', 'The broker cannot be reached') },
  )
  t.is((await at.run(['match', 'wrong.toml'])).exit, 2)
  t.deepEqual(at.calls, [])
  t.is((await at.run(['match', 'request.toml'])).exit, 5)
})

test('match --watch tells the best, then what is better, until Ctrl-C', async (t) => {
  const better = { ...fakeMatch, candidates: [{ ...fakeCandidate, provider: 'Cheaper' }], better: true }
  await using at = await site(
    { 'request.toml': '' },
    {
      async *matchWatch(_: unknown, call?: CallOptions) {
        yield { ...fakeMatch, candidates: [fakeCandidate] }
        yield* streamUntilAborted(better, call)
      },
    },
  )
  const signals = new EventEmitter()
  let seen = ''
  const onOutput = (text: string): void => {
    seen += text
    if (seen.includes('Cheaper')) signals.emit('SIGINT')
  }
  const { exit, lines } = await at.run(['match', 'request.toml', '--watch', '--json'], { signals, onOutput })
  t.is(exit, 0)
  t.like(lines[0], { type: 'match', rank: 1, provider: 'Alpine Cloud' })
  t.like(lines[1], { type: 'match', rank: 1, provider: 'Cheaper', better: true })
  t.is(lines[0].better, undefined)
})

test('match --watch leaves at once at the second SIGINT', async (t) => {
  await using at = await site(
    { 'request.toml': '' },
    { matchWatch: (_: unknown, call?: CallOptions) => streamUntilAborted(fakeMatch, call) },
  )
  const signals = new EventEmitter()
  const twice = (): void => {
    signals.emit('SIGINT')
    signals.emit('SIGINT')
  }
  const { exits } = await at.run(['match', 'request.toml', '--watch', '--json'], { signals, onOutput: twice })
  t.is(exits[0], 130)
  t.is(signals.listenerCount('SIGINT'), 0)
})

async function* failingStream(code: FluidError['code'], message: string): AsyncGenerator<never> {
  yield await failing(code, message)()
}
