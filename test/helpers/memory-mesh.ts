/**
 * Many nodes in one process, as far as a broker asks for a node: streams between them are libp2p's own kind, with its
 * back-pressure, over memory. Nothing is encrypted and nobody is proven. Bytes are counted by protocol.
 */
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Connection, Ed25519PrivateKey, PeerId, Stream, StreamHandler } from '@libp2p/interface'
import { defaultLogger } from '@libp2p/logger'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { AbstractStream, type AbstractStreamInit } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import type { GossipNode } from '../../broker/gossip.ts'

export interface MemoryNode {
  readonly privateKey: Ed25519PrivateKey
  /** What a broker needs of it. */
  readonly node: GossipNode
  /** Bytes sent so far, by protocol. */
  readonly sent: Map<string, number>
  /** A connection to the node of this peer ID: the one there is, or a new one. */
  connect(peer: string): Connection
}

/** A place where nodes find each other by peer ID. */
export function createMemoryMesh(): { add(): Promise<MemoryNode> } {
  const nodes = new Map<string, Member>()
  return {
    async add() {
      const privateKey = await generateKeyPair('Ed25519')
      const member = new Member(nodes, privateKey)
      nodes.set(member.peerId.toString(), member)
      return member.facade()
    },
  }
}

class Member {
  readonly peerId: PeerId
  readonly sent = new Map<string, number>()
  readonly handlers = new Map<string, StreamHandler>()
  readonly connections = new Map<string, MemoryConnection>()
  readonly #nodes: Map<string, Member>
  readonly #privateKey: Ed25519PrivateKey

  constructor(nodes: Map<string, Member>, privateKey: Ed25519PrivateKey) {
    this.#nodes = nodes
    this.#privateKey = privateKey
    this.peerId = peerIdFromPrivateKey(privateKey)
  }

  connect(peer: string): Connection {
    const open = this.connections.get(peer)
    if (open) return open.seen()
    const other = this.#nodes.get(peer)
    if (!other) throw new Error(`No node ${peer}`)
    const [here, there] = [
      new MemoryConnection(this, other, 'outbound'),
      new MemoryConnection(other, this, 'inbound'),
    ]
    here.twin = there
    there.twin = here
    this.connections.set(peer, here)
    other.connections.set(this.peerId.toString(), there)
    return here.seen()
  }

  facade(): MemoryNode {
    const of = (peer: PeerId | undefined) =>
      [...this.connections.values()].filter(({ to }) => peer === undefined || to.peerId.equals(peer))
    const node = {
      peerId: this.peerId,
      peerStore: { merge: async () => {}, get: async () => ({ addresses: [], protocols: [] }) },
      logger: defaultLogger(),
      handle: async (protocol: string | string[], handler: StreamHandler) => {
        for (const each of [protocol].flat()) this.handlers.set(each, handler)
      },
      unhandle: async (protocol: string | string[]) => {
        for (const each of [protocol].flat()) this.handlers.delete(each)
      },
      getConnections: (peer?: PeerId) => of(peer).map((connection) => connection.seen()),
      dial: async () => {
        throw new Error('Nodes of a simulation are connected by name')
      },
    }
    return {
      privateKey: this.#privateKey,
      node: node as unknown as GossipNode,
      sent: this.sent,
      connect: (peer) => this.connect(peer),
    }
  }
}

class MemoryConnection extends EventTarget {
  readonly id = crypto.randomUUID()
  readonly status = 'open'
  readonly remoteAddr
  readonly streams: Stream[] = []
  readonly direction: 'inbound' | 'outbound'
  readonly from: Member
  readonly to: Member
  twin!: MemoryConnection

  constructor(from: Member, to: Member, direction: 'inbound' | 'outbound') {
    super()
    this.from = from
    this.to = to
    this.direction = direction
    this.remoteAddr = multiaddr(`/memory/${to.peerId.toString()}`)
  }

  get remotePeer(): PeerId {
    return this.to.peerId
  }

  /** As libp2p's own type, of which it has what brokers use. */
  seen(): Connection {
    return this as unknown as Connection
  }

  async newStream(protocols: string | string[]): Promise<Stream> {
    const [protocol] = [protocols].flat()
    const handler = this.to.handlers.get(protocol)
    if (!handler) throw new Error(`${protocol} is not served`)
    const [here, there] = [
      new MemoryStream(this, { protocol, direction: 'outbound' }),
      new MemoryStream(this.twin, { protocol, direction: 'inbound' }),
    ]
    here.twin = there
    there.twin = here
    setImmediate(() => void handler(there, this.twin.seen()))
    return here
  }
}

let streams = 0

class MemoryStream extends AbstractStream {
  readonly #connection: MemoryConnection
  twin!: MemoryStream

  constructor(
    connection: MemoryConnection,
    { protocol, direction }: Pick<AbstractStreamInit, 'protocol' | 'direction'>,
  ) {
    const id = String(streams++)
    super({ id, protocol, direction, log: defaultLogger().forComponent('memory-mesh') })
    this.#connection = connection
    connection.streams.push(this)
    this.addEventListener('close', () => {
      const at = connection.streams.indexOf(this)
      if (at !== -1) connection.streams.splice(at, 1)
    })
  }

  sendData(data: Parameters<AbstractStream['sendData']>[0]) {
    const { sent } = this.#connection.from
    sent.set(this.protocol, (sent.get(this.protocol) ?? 0) + data.byteLength)
    // What is sent is the sender's to use again.
    const copy = Uint8Array.from(data.subarray())
    setImmediate(() => this.twin.onData(copy))
    return { sentBytes: data.byteLength, canSendMore: true }
  }

  sendReset(): void {
    setImmediate(() => this.twin.onRemoteReset())
  }

  async sendCloseWrite(): Promise<void> {
    setImmediate(() => this.twin.onRemoteCloseWrite())
  }

  async sendCloseRead(): Promise<void> {
    setImmediate(() => this.twin.onRemoteCloseRead())
  }

  // Who reads late has it wait with the reader, up to its bound.
  sendPause(): void {}

  sendResume(): void {}
}
