import { multiaddr } from '@multiformats/multiaddr'
import test from 'ava'
import { dataAddrs, dialableAddrs, networkOf, originOf } from '../../../agent/mesh/addresses.ts'
import { MAX_ADDRESSES } from '../../../protocol/limits.ts'

const PEER = '/p2p/12D3KooWPVXFYaYn5UFMwj7LDNFi28unWZMZqiZvL2jdmmZEvES8'

function node(...hosts: string[]) {
  return { getMultiaddrs: () => hosts.map((host) => multiaddr(`${host}/tcp/4001${PEER}`)) }
}

const everywhere = node(
  '/ip4/127.0.0.1',
  '/ip4/192.0.2.7',
  '/ip6/::1',
  '/ip6/2001:db8::7',
  '/ip6/fe80::1',
  '/ip4/169.254.0.9',
)

test('dialableAddrs() leaves out loopback and link-local where there is better', (t) => {
  t.deepEqual(dialableAddrs(everywhere), [
    `/ip4/192.0.2.7/tcp/4001${PEER}`,
    `/ip6/2001:db8::7/tcp/4001${PEER}`,
  ])
  t.deepEqual(dialableAddrs(node('/ip4/127.0.0.1')), [`/ip4/127.0.0.1/tcp/4001${PEER}`])
})

test('dataAddrs() gives interfaces to others, and loopback first to a peer on this machine', (t) => {
  t.deepEqual(dataAddrs(everywhere, { port: 5 }), ['192.0.2.7:5', '[2001:db8::7]:5'])
  const near = dataAddrs(everywhere, { port: 5, remoteAddr: multiaddr('/ip4/127.0.0.1/tcp/999') })
  t.deepEqual(near, ['127.0.0.1:5', '[::1]:5', '192.0.2.7:5', '[2001:db8::7]:5'])
  const far = dataAddrs(everywhere, { port: 5, remoteAddr: multiaddr('/ip4/192.0.2.8/tcp/999') })
  t.deepEqual(far, ['192.0.2.7:5', '[2001:db8::7]:5'])
  t.deepEqual(dataAddrs(node('/ip4/127.0.0.1'), { port: 5 }), ['127.0.0.1:5'])
})

test('dataAddrs() gives nothing but the announced host', (t) => {
  t.deepEqual(dataAddrs(everywhere, { port: 5, dataHost: 'agent.example.org' }), ['agent.example.org:5'])
  t.deepEqual(dataAddrs(everywhere, { port: 5, dataHost: '2001:db8::9' }), ['[2001:db8::9]:5'])
  t.deepEqual(dataAddrs(everywhere, { port: 5, dataHost: 'agent.example.org:6' }), ['agent.example.org:6'])
  t.deepEqual(dataAddrs(everywhere, { port: 5, dataHost: '[2001:db8::9]:6' }), ['[2001:db8::9]:6'])
})

test('dialableAddrs() and dataAddrs() give each address once, and at most MAX_ADDRESSES', (t) => {
  const many = Array.from({ length: 40 }, (_, n) => `/ip4/192.0.2.${n}`)
  t.is(dialableAddrs(node(...many)).length, MAX_ADDRESSES)
  t.is(dataAddrs(node(...many), { port: 5 }).length, MAX_ADDRESSES)
  t.deepEqual(dataAddrs(node('/ip4/192.0.2.1', '/ip4/192.0.2.1'), { port: 5 }), ['192.0.2.1:5'])
})

test('networkOf() is one for all addresses that one host of IPv6 can have', (t) => {
  for (const host of [
    '2001:db8::1',
    '2001:db8:0:0:ffff:1:2:3',
    '2001:db8::ffff:192.0.2.7',
    '2001:DB8::9%eth0',
  ])
    t.is(networkOf(host), '2001:db8:0:0::', host)
  t.is(networkOf('2001:db8:0:1::1'), '2001:db8:0:1::')
  t.is(networkOf('::1'), '0:0:0:0::')
  t.is(networkOf('fe80::1'), 'fe80:0:0:0::')
  for (const host of ['192.0.2.7', '::ffff:192.0.2.7', '::ffff:c000:207']) t.is(networkOf(host), '192.0.2.7')
  t.is(networkOf('agent.example.org'), 'agent.example.org')
})

test('originOf() tells who comes directly from who comes through a relay, and relays apart', (t) => {
  const other = PEER.replace('ES8', 'ES9')
  t.is(originOf(multiaddr('/ip6/2001:db8::7/tcp/4001')), '2001:db8:0:0::')
  t.is(originOf(multiaddr('/ip4/192.0.2.7/tcp/4001')), '192.0.2.7')
  for (const relay of [PEER, other])
    t.is(originOf(multiaddr(`/ip4/192.0.2.7/tcp/4001${relay}/p2p-circuit`)), relay.slice(5))
})
