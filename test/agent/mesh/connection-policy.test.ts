import type { MultiaddrConnection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import test, { type ExecutionContext } from 'ava'
import { createConnectionPolicy } from '../../../agent/mesh/connection-policy.ts'
import { createRefusals } from '../../../agent/mesh/refusals.ts'
import { MAX_HOST_STRANGERS, MAX_PENDING_PAIRINGS } from '../../../protocol/limits.ts'

const STRANGER = peerIdFromString('12D3KooWPVXFYaYn5UFMwj7LDNFi28unWZMZqiZvL2jdmmZEvES8')

/** A policy of an agent that strangers may ask to be paired, and what it says to connections of them. */
function strangersAt(t: ExecutionContext) {
  const { gater } = createConnectionPolicy({
    isPaired: () => false,
    isAwaited: () => false,
    acceptsStrangers: () => true,
    refusals: createRefusals(),
  })
  const sockets: EventTarget[] = []
  const cut: string[] = []
  t.teardown(() => sockets.forEach((socket) => socket.dispatchEvent(new Event('close'))))
  const isDenied = (host: string): boolean => {
    const socket = Object.assign(new EventTarget(), {
      remoteAddr: multiaddr(`/ip6/${host}/tcp/4001`),
      abort: () => cut.push(host),
    })
    sockets.push(socket)
    return gater.denyInboundEncryptedConnection!(STRANGER, socket as unknown as MultiaddrConnection) === true
  }
  return { isDenied, cut }
}

test('the addresses of one IPv6 network have the places of one host, and leave those of others', (t) => {
  const { isDenied, cut } = strangersAt(t)
  const denied = Array.from({ length: 2 * MAX_HOST_STRANGERS }, (_, n) =>
    isDenied(`2001:db8::${n.toString(16)}`),
  )
  t.is(denied.filter((each) => !each).length, MAX_HOST_STRANGERS)
  t.false(isDenied('2001:db8:0:1::1'))
  t.deepEqual(cut, [])
})

test('hosts that hold all places of strangers give some to others that come, as many as leave all of them as many', (t) => {
  const { isDenied, cut } = strangersAt(t)
  const hosts = MAX_PENDING_PAIRINGS / MAX_HOST_STRANGERS
  for (let host = 0; host < hosts; host++)
    for (let n = 0; n < MAX_HOST_STRANGERS; n++) t.false(isDenied(`2001:db8:0:${host}::${n}`))
  const others = Array.from({ length: MAX_HOST_STRANGERS }, () => isDenied('2001:db8:0:ff::1'))
  const share = Math.floor(MAX_PENDING_PAIRINGS / (hosts + 1))
  t.is(others.filter((each) => !each).length, share)
  t.is(cut.length, share)
  t.is(cut[0], '2001:db8:0:0::0')
})
