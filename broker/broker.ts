/**
 * A broker: a catalogue, served to anybody who asks, and kept the same as those of the brokers it knows. It holds no
 * exclusive truth: every offer proves itself, so a broker can lie by omission only, and who minds asks several.
 */
import type { Connection, PrivateKey } from '@libp2p/interface'
import type { ClassicLevel } from 'classic-level'
import type { Outcome } from '../protocol/catalog-message.ts'
import { CATALOG_PROTOCOL } from '../protocol/ids.ts'
import { MAX_CATALOG_STREAMS, MAX_CATALOG_STREAMS_PER_PEER } from '../protocol/limits.ts'
import { createCatalogServer } from './catalog-server.ts'
import { openCatalog, type Catalog, type CatalogBounds } from './catalog.ts'
import { openGossip, type GossipNode } from './gossip.ts'
import { createReplication, type Neighbourhood, type ReplicationParts } from './replication.ts'

export interface BrokerParts {
  /** Where offers are kept; owned by the caller. */
  readonly level: ClassicLevel<Uint8Array, Uint8Array>
  /** Serves both protocols; owned by the caller, and running. */
  readonly node: GossipNode
  readonly privateKey: PrivateKey
  readonly neighbourhood: Neighbourhood
  /** Address of the other end, for bounds on hosts. */
  readonly hostOf: (connection: Connection) => string
}

export interface BrokerOptions extends Pick<
  ReplicationParts,
  'compareIntervalMs' | 'onCompared' | 'onTrouble'
> {
  /** Other brokers, as `neighbourhood` connects to them. */
  readonly contacts?: readonly string[]
  readonly bounds?: Partial<CatalogBounds>
  /** Unix time, ms. */
  readonly now?: () => number
}

export interface Broker extends AsyncDisposable {
  readonly catalog: Catalog
  /** Offers refused since the start, by reason. */
  refused(): Partial<Record<Outcome, number>>
  /** Peer IDs of brokers it exchanges offers with now. */
  readonly neighbours: readonly string[]
  /** Keeps in touch with one more broker, from now on. */
  meet(contact: string): void
}

/** Serves the catalogue in `level` until disposed. */
export async function openBroker(parts: BrokerParts, options: BrokerOptions = {}): Promise<Broker> {
  const { level, node, privateKey, neighbourhood, hostOf } = parts
  await using stack = new AsyncDisposableStack()
  const catalog = stack.use(await openCatalog(level, options))
  const gossip = stack.use(await openGossip({ node, privateKey, catalog }))
  const replication = stack.use(
    createReplication({
      ...options,
      catalog,
      gossip,
      neighbourhood,
      hostOf,
      contacts: options.contacts ?? [],
    }),
  )
  const server = stack.use(
    createCatalogServer({
      catalog,
      hostOf,
      keep: (connection) => neighbourhood.keep(connection),
      onBroker: (connection) => replication.welcome(connection),
    }),
  )
  await node.handle(CATALOG_PROTOCOL, (stream, connection) => void server.serve(stream, connection), {
    // More, so that the server itself refuses, and counts: libp2p would reset all of those that come at once.
    maxInboundStreams: 4 * MAX_CATALOG_STREAMS_PER_PEER,
    maxOutboundStreams: MAX_CATALOG_STREAMS,
  })
  stack.defer(() => node.unhandle(CATALOG_PROTOCOL))
  const owned = stack.move()
  return {
    catalog,
    refused: () => catalog.refused(),
    get neighbours() {
      return replication.neighbours
    },
    meet: (contact) => replication.meet(contact),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
