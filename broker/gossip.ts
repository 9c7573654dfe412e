/**
 * Offers spread among brokers by gossip: each new one goes to the neighbours, and on from there. Only brokers that were
 * admitted take part, and each offer is examined before it is kept or passed on. Spec: catalog.md, Gossip.
 */
import { gossipsub, type GossipSub, type TopicValidatorFn, TopicValidatorResult } from '@libp2p/gossipsub'
import type { Connection, Libp2p, PeerId, PrivateKey, Startable, StreamHandler } from '@libp2p/interface'
import { blake3 } from '@napi-rs/blake-hash'
import type { Outcome, SignedOffer } from '../protocol/catalog-message.ts'
import { decodeSignedOffer, encodeSignedOffer } from '../protocol/catalog-offer.ts'
import { FluidError } from '../protocol/errors.ts'
import { CATALOG_TOPIC, GOSSIP_PROTOCOL } from '../protocol/ids.ts'
import {
  GOSSIP_BURST,
  GOSSIP_PER_SECOND,
  MAX_BROKER_NEIGHBOURS,
  MAX_GOSSIP_FRAME_BYTES,
  MAX_GOSSIP_OFFENCES,
  MAX_OFFER_BYTES,
} from '../protocol/limits.ts'
import { createAllowance } from '../protocol/allowance.ts'
import type { Catalog } from './catalog.ts'
import type { Share } from './shares.ts'

/** What gossip needs of a libp2p node. */
export interface GossipNode extends Pick<
  Libp2p,
  'peerId' | 'peerStore' | 'handle' | 'unhandle' | 'getConnections' | 'dial'
> {
  readonly logger: Libp2p['logger']
}

export interface Gossip extends AsyncDisposable {
  /** Lets the broker at the other end take part until it is dismissed; what is new of it is kept in `share`. */
  admit(connection: Connection, share?: Share): void
  /** Opens the stream to one that was admitted. */
  join(connection: Connection): void
  dismiss(peer: PeerId): void
  /** Tells the neighbours. */
  spread(offers: readonly SignedOffer[]): Promise<void>
}

interface Topology {
  onConnect?(peer: PeerId, connection: Connection): void
  onDisconnect?(peer: PeerId): void
}

/** An honest broker has examined what it passes on. Clocks and bounds may differ. */
const OFFENCES: ReadonlySet<Outcome> = new Set(['forged', 'malformed', 'oversized', 'lease'])
const MESSAGE_ID_BYTES = 16
/** Neighbours, of now and before, whose haste and offences are remembered. */
const MAX_REMEMBERED = 4 * MAX_BROKER_NEIGHBOURS
/** Kademlia-sized buffers are not needed: what a slow neighbour misses it gets with the next comparison. */
const OUTBOUND_BUFFER_BYTES = 4 * 2 ** 20

/** Takes part in the gossip until disposed. */
export async function openGossip(parts: {
  readonly node: GossipNode
  readonly privateKey: PrivateKey
  readonly catalog: Catalog
}): Promise<Gossip> {
  const { node, privateKey, catalog } = parts
  const members = new Map<string, Share | undefined>()
  const offences = new Map<string, number>()
  const allowance = createAllowance({
    burst: GOSSIP_BURST,
    perSecond: GOSSIP_PER_SECOND,
    maxKeys: MAX_REMEMBERED,
  })
  let topology: Topology = {}

  /** libp2p would bring in everybody who speaks the protocol; here a broker is admitted when it was compared with. */
  const registrar = {
    handle: (protocol: string, handler: StreamHandler, options: object) =>
      node.handle(
        protocol,
        (stream, connection) => {
          if (members.has(connection.remotePeer.toString())) return handler(stream, connection)
          stream.abort(new FluidError('POLICY_DENIED', 'Not a neighbour'))
        },
        options,
      ),
    unhandle: (protocol: string) => node.unhandle(protocol),
    register: async (_: string, given: Topology) => {
      topology = given
      return CATALOG_TOPIC
    },
    unregister: () => {},
  }
  const gossip = gossipsub({
    // Offers are signed by whom they speak of; who passed them on says nothing.
    globalSignaturePolicy: 'StrictNoSign',
    msgIdFn: ({ data }) => blake3(Buffer.from(data)).subarray(0, MESSAGE_ID_BYTES),
    allowedTopics: [CATALOG_TOPIC],
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    tagMeshPeers: false,
    doPX: false,
    maxInboundStreams: 1,
    maxOutboundStreams: 1,
    maxInboundDataLength: MAX_GOSSIP_FRAME_BYTES,
    maxOutboundBufferSize: OUTBOUND_BUFFER_BYTES,
    maxTopicBytesPerPeer: 4096,
  })({
    privateKey,
    peerId: node.peerId,
    peerStore: node.peerStore,
    logger: node.logger,
    registrar,
    connectionManager: {},
  } as never) as GossipSub & Startable

  const validate: TopicValidatorFn = async (from, { data }) => {
    const peer = from.toString()
    // The stream may be on its way out.
    if (!members.has(peer)) return TopicValidatorResult.Ignore
    if (!allowance.take(peer)) {
      catalog.count('hasty')
      offend(from)
      return TopicValidatorResult.Ignore
    }
    const outcome = await examine(data, members.get(peer))
    if (outcome === 'kept') return TopicValidatorResult.Accept
    if (!OFFENCES.has(outcome)) return TopicValidatorResult.Ignore
    offend(from)
    return TopicValidatorResult.Reject
  }

  async function examine(data: Uint8Array, share: Share | undefined): Promise<Outcome> {
    try {
      // Its signature, and what protobuf adds.
      if (data.length > MAX_OFFER_BYTES + 256) throw new FluidError('PROTOCOL_VIOLATION', 'Too long')
      const [{ outcome }] = await catalog.put([decodeSignedOffer(data)], 'gossiped', share)
      return outcome
    } catch (error) {
      if (!(error instanceof FluidError)) throw error
      catalog.count('malformed')
      return 'malformed'
    }
  }

  function offend(from: PeerId): void {
    const peer = from.toString()
    const times = (offences.get(peer) ?? 0) + 1
    offences.set(peer, times)
    if (offences.size > MAX_REMEMBERED) offences.delete(offences.keys().next().value!)
    if (times >= MAX_GOSSIP_OFFENCES) dismiss(from)
  }

  function admit(connection: Connection, share?: Share): void {
    const peer = connection.remotePeer.toString()
    if ((offences.get(peer) ?? 0) < MAX_GOSSIP_OFFENCES) members.set(peer, share)
  }

  function dismiss(peer: PeerId): void {
    if (!members.delete(peer.toString())) return
    topology.onDisconnect?.(peer)
    // It closes them in order, which waits for the other side.
    const streams = node.getConnections(peer).flatMap((connection) => connection.streams)
    for (const stream of streams)
      if (stream.protocol === GOSSIP_PROTOCOL)
        stream.abort(new FluidError('POLICY_DENIED', 'No longer a neighbour'))
  }

  // Its option of that name is not heeded.
  gossip.protocols = [GOSSIP_PROTOCOL]
  await gossip.start()
  gossip.topicValidators.set(CATALOG_TOPIC, validate)
  gossip.subscribe(CATALOG_TOPIC)
  return {
    admit,
    join: (connection) => {
      if (members.has(connection.remotePeer.toString()))
        topology.onConnect?.(connection.remotePeer, connection)
    },
    dismiss,
    spread: async (offers) => {
      for (const offer of offers)
        await gossip.publish(CATALOG_TOPIC, encodeSignedOffer(offer)).catch(() => {})
    },
    [Symbol.asyncDispose]: async () => gossip.stop(),
  }
}
