import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { openRelayAccounts, type RelayAccounts } from '../../../agent/reach/relay-accounts.ts'
import { openStateStore } from '../../../agent/state-store.ts'
import { MAX_RELAY_ACCOUNTS } from '../../../protocol/limits.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const HOUR_MS = 60 * 60_000

/** Accounts over a store that stays when they are closed and opened again. */
async function open(t: ExecutionContext, quota: { bytes: number; peerBytes?: number; leastBytes?: number }) {
  const store = await openStateStore(join(await tempDir(t), 'state'))
  t.teardown(() => store[Symbol.asyncDispose]())
  const clock = { now: Date.parse('2026-11-26') }
  const again = (): Promise<RelayAccounts> => openRelayAccounts({ store, ...quota, now: () => clock.now })
  return { accounts: await again(), again, clock }
}

test('what a relay carried is counted for both ends and for all', async (t) => {
  const { accounts } = await open(t, { bytes: 1000, peerBytes: 400 })
  accounts.spend(300, 'a', 'b')
  t.is(accounts.left('a', 'c'), 100)
  t.is(accounts.left('c', 'd'), 400)
  accounts.spend(100, 'a', 'c')
  t.is(accounts.left('a', 'd'), 0)
  t.is(accounts.left('b', 'd'), 100)
  accounts.spend(400, 'd')
  t.is(accounts.left('e'), 200)
  t.deepEqual(accounts.report(), { bytes: 800, quotaBytes: 1000, peerQuotaBytes: 400, spentBy: ['a', 'd'] })
})

test('what is left is used up when it is too little to be of use', async (t) => {
  const { accounts } = await open(t, { bytes: 1000, peerBytes: 400, leastBytes: 50 })
  accounts.spend(349, 'a')
  t.is(accounts.left('a'), 51)
  t.deepEqual(accounts.report().spentBy, [])
  accounts.spend(1, 'a')
  t.is(accounts.left('a'), 0)
  t.deepEqual(accounts.report().spentBy, ['a'])
  accounts.spend(350, 'b')
  t.is(accounts.left('c'), 300)
  accounts.spend(250, 'c')
  t.is(accounts.left('d'), 0)
})

test('a relay that starts again goes on counting', async (t) => {
  const { accounts, again } = await open(t, { bytes: 1000 })
  accounts.spend(200, 'a', 'b')
  await accounts[Symbol.asyncDispose]()
  const later = await again()
  t.is(later.left('a'), 50)
  t.is(later.report().bytes, 200)
})

test('the day of each peer ends 24 hours after it began, and not sooner when the clock is set back', async (t) => {
  const { accounts, clock } = await open(t, { bytes: 1000, peerBytes: 400 })
  accounts.spend(400, 'a')
  clock.now += 12 * HOUR_MS
  accounts.spend(400, 'b')
  t.is(accounts.left('a'), 0)
  clock.now -= 48 * HOUR_MS
  t.is(accounts.left('a'), 0)
  clock.now += 60 * HOUR_MS
  t.is(accounts.left('a'), 400)
  t.is(accounts.left('b'), 0)
  clock.now += 12 * HOUR_MS
  t.is(accounts.left('b'), 400)
})

test('accounts are bounded; the total outlives them', async (t) => {
  const { accounts, again } = await open(t, { bytes: 1e9 })
  for (let i = 0; i < MAX_RELAY_ACCOUNTS + 50; i++) accounts.spend(1, `peer-${i}`)
  await accounts[Symbol.asyncDispose]()
  const later = await again()
  t.is(later.report().bytes, MAX_RELAY_ACCOUNTS + 50)
  await later[Symbol.asyncDispose]()
})
