/** Brokers on libp2p nodes of this process, without an agent's policy, and clients of them. */
import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Connection, Ed25519PrivateKey, Libp2p } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { openBroker, type Broker, type BrokerOptions } from '../../broker/broker.ts'
import { openCatalogClient, type CatalogClient } from '../../broker/catalog-client.ts'
import { CATALOG_PROTOCOL } from '../../protocol/ids.ts'
import { stateLevel } from './state-level.ts'
import type { Owner } from './temp-dir.ts'

export interface BrokerNode {
  readonly broker: Broker
  readonly node: Libp2p
  /** Its multiaddr, with its peer ID. */
  readonly addr: string
  meet(other: BrokerNode): void
  stop(): Promise<void>
}

/** A libp2p node on loopback; it stops with its owner. */
export async function startNode(owner: Owner, privateKey?: Ed25519PrivateKey): Promise<Libp2p> {
  const node = await createLibp2p({
    privateKey: privateKey ?? (await generateKeyPair('Ed25519')),
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { inboundConnectionThreshold: 1000 },
    connectionMonitor: { enabled: false },
  })
  owner.teardown(() => node.stop())
  return node
}

/** A broker; it stops with its owner. */
export async function startBroker(owner: Owner, options: BrokerOptions = {}): Promise<BrokerNode> {
  const privateKey = await generateKeyPair('Ed25519')
  const node = await startNode(owner, privateKey)
  const { level } = await stateLevel(owner)
  const broker = await openBroker(
    {
      level,
      node,
      privateKey,
      hostOf: (connection) => connection.remoteAddr.toString().split('/')[2] ?? '',
      neighbourhood: {
        connect: (contact, { signal }) => node.dial(multiaddr(contact), { signal }),
        openStream: (connection, { signal }) => connection.newStream(CATALOG_PROTOCOL, { signal }),
        keep: () => ({ [Symbol.dispose]: () => {} }),
      },
    },
    options,
  )
  owner.teardown(() => broker[Symbol.asyncDispose]())
  return {
    broker,
    node,
    addr: node.getMultiaddrs()[0].toString(),
    meet: (other) => broker.meet(other.addr),
    stop: async () => {
      await broker[Symbol.asyncDispose]()
      await node.stop()
    },
  }
}

/** A client of `to`, on a node of its own unless one is given. */
export async function connectTo(owner: Owner, to: BrokerNode, node?: Libp2p): Promise<CatalogClient> {
  const connection = await connectionTo(owner, to, node)
  const client = openCatalogClient(await connection.newStream(CATALOG_PROTOCOL))
  owner.teardown(() => client[Symbol.asyncDispose]())
  return client
}

/** A connection to `to`. */
export async function connectionTo(owner: Owner, to: BrokerNode, node?: Libp2p): Promise<Connection> {
  return (node ?? (await startNode(owner))).dial(multiaddr(to.addr))
}
