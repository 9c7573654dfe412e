/** The mesh node: libp2p over TCP, Noise and yamux, with what an agent needs for control traffic, and nothing else. */
import { noise } from '@chainsafe/libp2p-noise'
import { identify, type Identify } from '@libp2p/identify'
import type { Ed25519PrivateKey, Libp2p } from '@libp2p/interface'
import { ping, type Ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2pInit } from 'libp2p'
import { FluidError } from '../../protocol/errors.ts'
import {
  LANE_STREAM_BUFFER_BYTES,
  MAX_ADDRESSES,
  MAX_HOST_CONNECTIONS_PER_SECOND,
  MAX_MESH_CONNECTIONS,
  MAX_PINGS,
  MAX_UPGRADING_CONNECTIONS,
} from '../../protocol/limits.ts'
import { boundedReplies } from './bounded-replies.ts'
import type { ConnectionPolicy } from './connection-policy.ts'
import type { Directory } from './directory.ts'
import type { Discovery } from './discovery.ts'
import { gatheringWrites } from './gathered-writes.ts'
import { optimistic } from './optimistic-select.ts'
import { type PortDialer, portDialer } from './port-dialer.ts'
import { punchTransport } from './punch.ts'
import type { OwnAddresses } from '../reach/own-addresses.ts'
import type { RelayAccounts } from '../reach/relay-accounts.ts'
import type { Refusals } from './refusals.ts'
import { type Relay, type RelayQuota, relayService } from './relay.ts'
import { type RelayClient, relayClientService, relayTransport } from './relay-client.ts'
import { behind, forgetStrangers, identifyPeers } from './stranger-privacy.ts'
import { type StunServer, stunHost, stunService } from './stun.ts'
import { boundedUpgrader, endDeadConnections, webRtcListen, webRtcTransport } from './webrtc.ts'

export type MeshNode = Libp2p<{
  identify: Identify
  ping: Ping
  directory?: Directory
  relay?: Relay
  stun?: StunServer
  relayClient: RelayClient
  ports: PortDialer
  listening: object
}> &
  AsyncDisposable

export interface NodeOptions {
  readonly privateKey: Ed25519PrivateKey
  /** Multiaddrs. */
  readonly listen: readonly string[]
  /** Path of the certificate of webrtc-direct; undefined: no WebRTC. */
  readonly webRtcCertificate?: string
  /** Multiaddrs told to others instead of those of the interfaces. */
  readonly announce?: readonly string[]
  /** Which addresses are told to others; undefined: those that libp2p finds. */
  readonly own?: OwnAddresses
  /** Where the address book is kept; owned by the caller, open until the node is disposed. */
  readonly datastore: NonNullable<Libp2pInit['datastore']>
  readonly connectionPolicy: ConnectionPolicy
  readonly discovery: readonly Discovery[]
  /** True to serve the directory, and use it. */
  readonly directory: boolean
  /** Undefined: this agent is no relay. */
  readonly relay?: {
    readonly quota: RelayQuota
    readonly accounts: RelayAccounts
    readonly forAll: boolean
    /** UDP port at which peers learn their address; undefined: none. */
    readonly stunPort?: number
  }
  /** Multiaddrs of relays through which this agent is reached. */
  readonly relays: readonly string[]
  /** True to find relays of strangers in the directory. */
  readonly anyRelay?: boolean
  readonly refusals: Refusals
}

/** A started node; dispose it to stop. Throws CONFIG_INVALID when it cannot listen. */
export async function createNode(options: NodeOptions): Promise<MeshNode> {
  const { connectionPolicy, directory, relay, relays, refusals } = options
  const announced = (options.announce ?? []).length > 0
  const isRelay = (peer: string): boolean =>
    connectionPolicy.isPaired(peer) ||
    relays.some((addr) => addr.endsWith(`/p2p/${peer}`)) ||
    node.services.relayClient.isChosen(peer)
  const certificate = options.webRtcCertificate
  const webRtc = certificate
    ? [
        await webRtcTransport({ certificate, refusals }),
        await punchTransport({
          may: connectionPolicy.isPaired,
          refusals,
          bounded: (components) => boundedUpgrader(components, refusals),
        }),
      ]
    : []
  const stun =
    relay?.stunPort === undefined
      ? undefined
      : stunService({
          host: stunHost(options.listen),
          port: relay.stunPort,
          may: (peer) => relay.forAll || connectionPolicy.isPaired(peer),
          refusals,
        })
  // Loaded where it is served only.
  const directoryOf = directory ? (await import('./directory.ts')).directoryService : undefined
  const listen = [...options.listen, ...(certificate ? webRtcListen(options.listen) : [])]
  const node: Libp2p<MeshNode['services']> = await createLibp2p<MeshNode['services']>({
    start: false,
    privateKey: options.privateKey,
    addresses: { listen, announce: [...(options.announce ?? [])], announceFilter: options.own?.filter },
    datastore: options.datastore,
    // Strangers are forgotten when they leave; addresses of paired peers stay good until they tell newer ones.
    peerStore: { maxAddressAge: Infinity, maxPeerAge: Infinity },
    transports: [tcp(), ...webRtc, relayTransport(isRelay)],
    connectionEncrypters: [gatheringWrites(noise())],
    streamMuxers: [
      optimistic(
        boundedReplies(
          yamux({
            // Windows grow by the ping of the keep-alive: without it 5 MB/s at 40 ms.
            enableKeepAlive: true,
            // 16 MiB windows; a read buffer that is not larger resets a paused reader.
            streamOptions: {
              maxStreamWindowSize: 16 * 1024 * 1024,
              maxReadBufferLength: LANE_STREAM_BUFFER_BYTES,
            },
          }),
        ),
      ),
    ],
    connectionGater: connectionPolicy.gater,
    connectionManager: {
      maxConnections: MAX_MESH_CONNECTIONS,
      inboundConnectionThreshold: MAX_HOST_CONNECTIONS_PER_SECOND,
      // More, for those that the policy just cut: libp2p would refuse whoever comes next, and not who holds a place.
      maxIncomingPendingConnections: 2 * MAX_UPGRADING_CONNECTIONS,
      maxPeerAddrsToDial: MAX_ADDRESSES,
    },
    // A busy slow line answers no ping within 5 s, and is no reason to cut it.
    connectionMonitor: { abortConnectionOnPingFailure: false },
    peerDiscovery: [...options.discovery],
    services: {
      identify: behind(connectionPolicy.mayIdentify, identify({ runOnConnectionOpen: false })),
      ping: behind(
        connectionPolicy.isKnown,
        ping({ maxInboundStreams: MAX_PINGS, maxOutboundStreams: MAX_PINGS }),
      ),
      ports: portDialer,
      listening: ({ peerId, transportManager }) => {
        options.own?.listensAt(peerId.toString(), () => transportManager.getAddrs())
        return {}
      },
      relayClient: relayClientService({
        relays,
        announced,
        policy: connectionPolicy,
        anybody: options.anyRelay,
        directory: () => node.services.directory,
        own: options.own,
      }),
      ...(relay ? { relay: relayService({ ...relay, policy: connectionPolicy, refusals }) } : {}),
      ...(stun ? { stun } : {}),
      ...(directoryOf ? { directory: directoryOf({ policy: connectionPolicy, refusals }) } : {}),
    },
  })
  await forgetStrangers(node, connectionPolicy, { keepTable: directory })
  identifyPeers(node, connectionPolicy, (peer) => node.services.directory?.retains(peer) ?? false)
  if (certificate) endDeadConnections(node, connectionPolicy.isKnown)
  try {
    await node.start()
  } catch (cause) {
    throw new FluidError('CONFIG_INVALID', `Listening on ${listen.join(', ')} failed`, {
      cause,
      hint: 'Another program may use the port, or the address is not of this machine; see listen in config.toml',
    })
  }
  return Object.assign(node, { [Symbol.asyncDispose]: async () => node.stop() })
}
