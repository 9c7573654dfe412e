/** An agent's standing in the mesh: its node, who it trusts, what they may do. Wires the parts and owns their closing. */
import { join } from 'node:path'
import { RELAY_LEAST_BYTES } from '../protocol/limits.ts'
import type { Config } from './config.ts'
import { openAddressBook } from './mesh/address-book.ts'
import { type ConnectionPolicy, createConnectionPolicy } from './mesh/connection-policy.ts'
import { discoveries } from './mesh/discovery.ts'
import type { Home } from './home.ts'
import type { Identity } from './identity.ts'
import { joinDirectory } from './mesh/join-directory.ts'
import { createNode, type MeshNode } from './mesh/node.ts'
import { openPairing, type Pairing } from './pairing/pairing.ts'
import { createPeers, type Peers } from './mesh/peers.ts'
import { answerPunches } from './mesh/punch-answers.ts'
import { createPendingPairings } from './pairing/pending-pairings.ts'
import { announceAs } from './reach/announce.ts'
import { createOwnAddresses, type OwnAddresses } from './reach/own-addresses.ts'
import { openRelayAccounts } from './reach/relay-accounts.ts'
import { createPolicy, type Policy } from './pairing/policy.ts'
import { createRefusals, type Refusals } from './mesh/refusals.ts'
import type { StateStore } from './state-store.ts'
import { openTickets } from './pairing/tickets.ts'

export interface Mesh extends AsyncDisposable {
  readonly node: MeshNode
  readonly peers: Peers
  readonly policy: Policy
  readonly pairing: Pairing
  readonly connectionPolicy: ConnectionPolicy
  /** Counters for `status`; others may count here too. */
  readonly refusals: Refusals
  /** What it tells others of where it is. */
  readonly own: OwnAddresses
}

export interface MeshOptions {
  readonly home: Home
  readonly identity: Identity
  /** Owned by the caller. */
  readonly store: StateStore
  readonly config: Pick<
    Config,
    'name' | 'listen' | 'announce' | 'mdns' | 'bootstrap' | 'directory' | 'pairingRequests'
  > &
    Partial<
      Pick<Config, 'webrtc' | 'stunPort' | 'relay' | 'relayFor' | 'relayQuota' | 'relays' | 'relaysFrom'>
    >
  /** Unix time, ms; tests give their own. */
  readonly now?: () => number
  /** Lifetime of a stranger's connection, ms; PAIRING_TIMEOUT_MS unless given. */
  readonly strangerTimeoutMs?: number
}

/** A started node that serves pairing and nothing else yet. Throws CONFIG_INVALID, STATE_LOCKED, STATE_DAMAGED. */
export async function openMesh(options: MeshOptions): Promise<Mesh> {
  const { home, identity, store, config, now = Date.now, strangerTimeoutMs } = options
  const refusals = createRefusals()
  const peers = createPeers(store)
  const policy = createPolicy({ store, home })
  const pending = createPendingPairings({ store, now })
  const tickets = await openTickets({ store, now })
  const { relayQuota } = config
  const own = createOwnAddresses({ announced: config.announce.length > 0 })
  await using stack = new AsyncDisposableStack()
  const relay =
    config.relay && relayQuota
      ? {
          quota: relayQuota,
          accounts: stack.use(
            await openRelayAccounts({ store, now, leastBytes: RELAY_LEAST_BYTES, ...relayQuota }),
          ),
          forAll: config.relayFor === 'all',
          stunPort: config.webrtc ? config.stunPort : undefined,
        }
      : undefined
  const connectionPolicy = createConnectionPolicy({
    isPaired: peers.isPaired,
    isAwaited: pending.isAwaited,
    acceptsStrangers: () => config.pairingRequests || tickets.isOutstanding(),
    directory: config.directory,
    relayForAll: relay?.forAll,
    usesRelay: (peer) => node.services.relay?.holds(peer) ?? false,
    refusals,
    strangerTimeoutMs,
  })
  const datastore = stack.use(await openAddressBook(home.peerstore))
  const node: MeshNode = stack.use(
    await createNode({
      privateKey: identity.privateKey,
      listen: config.listen,
      webRtcCertificate: config.webrtc ? join(home.path, 'webrtc.pem') : undefined,
      announce: config.announce,
      own,
      datastore,
      connectionPolicy,
      discovery: discoveries(config),
      directory: config.directory,
      relay,
      relays: config.relays ?? [],
      anyRelay: config.relaysFrom === 'directory',
      refusals,
    }),
  )
  const pairing = stack.use(
    await openPairing({
      node,
      store,
      peers,
      policy,
      tickets,
      pending,
      connectionPolicy,
      refusals,
      name: config.name,
      imports: home.imports,
      acceptsRequests: config.pairingRequests,
      now,
    }),
  )
  const relaysFor = (peer: string) => (relay?.forAll ?? false) || connectionPolicy.isPaired(peer)
  stack.use(await answerPunches({ node, connectionPolicy, refusals, relaysFor }))
  const { directory } = node.services
  if (directory && relay) stack.use(announceAs('relay', directory))
  if (config.directory) stack.use(joinDirectory(node, config.bootstrap))
  const owned = stack.move()
  return {
    node,
    peers,
    policy,
    pairing,
    connectionPolicy,
    refusals,
    own,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
