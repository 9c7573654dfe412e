import { multiaddr } from '@multiformats/multiaddr'
import test from 'ava'
import { dataAddrs, dialableAddrs } from '../../../agent/mesh/addresses.ts'
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
