import type { MultiaddrConnection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import test from 'ava'
import { createConnectionPolicy } from '../../../agent/mesh/connection-policy.ts'
import { createRefusals } from '../../../agent/mesh/refusals.ts'
import { MAX_HOST_STRANGERS } from '../../../protocol/limits.ts'

const STRANGER = peerIdFromString('12D3KooWPVXFYaYn5UFMwj7LDNFi28unWZMZqiZvL2jdmmZEvES8')

test('the addresses of one IPv6 network have the places of one host, and leave those of others', (t) => {
  const { gater } = createConnectionPolicy({
    isPaired: () => false,
    isAwaited: () => false,
    acceptsStrangers: () => true,
    refusals: createRefusals(),
  })
  const sockets: EventTarget[] = []
  t.teardown(() => sockets.forEach((socket) => socket.dispatchEvent(new Event('close'))))
  const isDenied = (host: string) => {
    const socket = Object.assign(new EventTarget(), { remoteAddr: multiaddr(`/ip6/${host}/tcp/4001`) })
    sockets.push(socket)
    return gater.denyInboundEncryptedConnection!(STRANGER, socket as unknown as MultiaddrConnection)
  }
  const denied = Array.from({ length: 2 * MAX_HOST_STRANGERS }, (_, n) =>
    isDenied(`2001:db8::${n.toString(16)}`),
  )
  t.is(denied.filter((each) => !each).length, MAX_HOST_STRANGERS)
  t.false(isDenied('2001:db8:0:1::1'))
})
