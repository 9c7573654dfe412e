import test from 'ava'
import { multiaddr } from '@multiformats/multiaddr'
import { checkReach, reachText } from '../../../agent/reach/reach-check.ts'
import { createOwnAddresses } from '../../../agent/reach/own-addresses.ts'
import { createVerdicts, type Finding } from '../../../agent/reach/verdicts.ts'
import { MAX_REACH_PEERS, REACH_VALID_MS } from '../../../protocol/limits.ts'

const found = (host: string, mesh: boolean, at = 0): Finding => ({
  host,
  ports: { mesh: 4001, data: 4002 },
  arrived: { mesh },
  at,
})
const never = () => false

test('one peer that arrived outweighs any that did not', (t) => {
  const verdicts = createVerdicts(() => 0)
  verdicts.note('a', found('203.0.113.5', false))
  t.like(verdicts.verdict('mesh'), { state: 'no', asked: 1 })
  verdicts.note('b', found('203.0.113.5', false))
  t.deepEqual([...verdicts.dead('mesh')], ['203.0.113.5:4001'])
  verdicts.note('c', found('203.0.113.5', true))
  t.deepEqual(verdicts.verdict('mesh'), { state: 'yes', asked: 3, at: '203.0.113.5:4001' })
  t.is(verdicts.dead('mesh').size, 0)
  t.is(verdicts.verdict('data').state, 'unknown')
})

test('an address that nobody knew is told when two peers arrived, or one if the host is ours', (t) => {
  const verdicts = createVerdicts(() => 0)
  verdicts.note('a', found('203.0.113.5', true))
  t.is(verdicts.alive('mesh', never).size, 0)
  t.is(verdicts.alive('mesh', (host) => host === '203.0.113.5').size, 1)
  verdicts.note('b', found('203.0.113.5', true))
  t.deepEqual([...verdicts.alive('mesh', never)], ['203.0.113.5:4001'])
})

test('a peer is counted once, and what it found is forgotten in time', (t) => {
  let now = 0
  const verdicts = createVerdicts(() => now)
  for (let i = 0; i < 5; i++) verdicts.note('a', found('2001:db8::1', false))
  t.deepEqual(verdicts.verdict('mesh'), { state: 'no', asked: 1, at: '[2001:db8::1]:4001' })
  for (let i = 0; i < MAX_REACH_PEERS + 5; i++) verdicts.note(`p${i}`, found('203.0.113.5', false))
  t.is(verdicts.verdict('mesh').asked, MAX_REACH_PEERS)
  now = REACH_VALID_MS + 1
  t.deepEqual(verdicts.verdict('mesh'), { state: 'unknown', asked: 0 })
})

test('createOwnAddresses() hides what is dead and adds what is forwarded', (t) => {
  const own = createOwnAddresses({ announced: false })
  const addrs = ['/ip4/203.0.113.5/tcp/4001', '/ip4/10.0.0.2/tcp/4001'].map((addr) => multiaddr(addr))
  t.deepEqual(own.filter(addrs), addrs)
  own.set(
    { more: new Set(['198.51.100.9:4711', '10.0.0.2:4001']), less: new Set(['203.0.113.5:4001']) },
    { more: new Set(['198.51.100.9:4712']), less: new Set(['203.0.113.5:4002']) },
  )
  t.deepEqual(own.filter(addrs).map(String), ['/ip4/10.0.0.2/tcp/4001', '/ip4/198.51.100.9/tcp/4711'])
  t.deepEqual(own.hidden.map(String), ['/ip4/203.0.113.5/tcp/4001'])
  t.deepEqual(own.data(['203.0.113.5:4002', '10.0.0.2:4002']), ['10.0.0.2:4002', '198.51.100.9:4712'])
})

test('createOwnAddresses() tells where the node listens, though libp2p has no proof of it', (t) => {
  const own = createOwnAddresses({ announced: false })
  const peer = '12D3KooWKcCe9orhvxSrdvyArFtzm5VRKUZ7cUdSq3Ju5JBe47db'
  const [local, outer] = ['/ip4/127.0.0.1/tcp/4001', '/ip4/203.0.113.5/tcp/4001']
  own.listensAt(peer, () => [local, outer].map((addr) => multiaddr(addr)))
  t.deepEqual(own.filter([multiaddr(`${local}/p2p/${peer}`)]).map(String), [
    `${local}/p2p/${peer}`,
    `${outer}/p2p/${peer}`,
  ])
  t.is(own.filter([]).length, 2)
})

test("createOwnAddresses() leaves the owner's word alone", (t) => {
  const own = createOwnAddresses({ announced: true })
  const addrs = [multiaddr('/ip4/203.0.113.5/tcp/4001')]
  own.set(
    { more: new Set(['198.51.100.9:1']), less: new Set(['203.0.113.5:4001']) },
    { more: new Set(), less: new Set() },
  )
  t.deepEqual(own.filter(addrs), addrs)
})

const config = { dataHost: undefined, portMapping: false }

test('checkReach() warns of ports that nobody reached, and of those alone', (t) => {
  const data = { state: 'no', asked: 2, at: '203.0.113.5:4002' } as const
  const mesh = { state: 'yes', asked: 2, at: '203.0.113.5:4001' } as const
  const check = checkReach({ mesh, data }, { config, addrs: ['/ip4/203.0.113.5/tcp/4001'] })
  t.is(check.state, 'warn')
  t.is(check.detail, 'mesh yes, data no; asked 2 peers, at 203.0.113.5:4001 and 203.0.113.5:4002')
  t.regex(check.hint!, /Forward TCP 4002 .*port_mapping/)
  const both = { mesh, data: { ...data, state: 'yes' } } as const
  t.is(checkReach(both, { config, addrs: ['/ip4/203.0.113.5/tcp/4001'] }).state, 'ok')
  t.regex(checkReach(both, { config, addrs: [] }).detail, /announce = \["\/ip4\/203.0.113.5\/tcp\/4001"\]/)
})

test('reachText() says that nobody could be asked', (t) => {
  const unknown = { state: 'unknown', asked: 0 } as const
  t.is(reachText({ mesh: unknown, data: unknown }), 'unknown; asked 0 peers')
  t.is(checkReach({ mesh: unknown, data: unknown }, { config, addrs: [] }).state, 'ok')
})
