/** Mesh nodes of their own homes, on loopback, for tests. Everything is gone when the test ends. */
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { type Home, initHome } from '../../agent/home.ts'
import { type Identity, loadIdentity } from '../../agent/identity.ts'
import { type Mesh, openMesh } from '../../agent/mesh.ts'
import type { RelayQuota } from '../../agent/mesh/relay.ts'
import { openStateStore, type StateStore } from '../../agent/state-store.ts'
import { tempDir } from './temp-dir.ts'

export interface TestMesh extends Mesh {
  readonly name: string
  readonly home: Home
  readonly identity: Identity
  readonly store: StateStore
  /** The node's own multiaddr, with its peer ID; empty when it does not listen. */
  readonly addr: string
  /** Stops it and starts it again on the same home. */
  restart(): Promise<TestMesh>
}

export interface TestMeshOptions {
  readonly pairingRequests?: boolean
  readonly mdns?: boolean
  /** Multiaddrs of first contacts. */
  readonly bootstrap?: readonly string[]
  /** False unless it is given, whatever `bootstrap` says. */
  readonly directory?: boolean
  /** Listens and dials by WebRTC too. */
  readonly webrtc?: boolean
  /** Multiaddrs; a free TCP port of 127.0.0.1 unless given. */
  readonly listen?: readonly string[]
  readonly relay?: boolean
  readonly relayFor?: 'paired' | 'all'
  readonly relayQuota?: RelayQuota
  readonly relays?: readonly string[]
  readonly relaysFrom?: 'paired' | 'directory'
  /** Unix time, ms. */
  readonly now?: () => number
  readonly strangerTimeoutMs?: number
}

/** A started node called `name`, listening on a free port of 127.0.0.1. */
export async function startMesh(
  t: ExecutionContext,
  name: string,
  options: TestMeshOptions = {},
): Promise<TestMesh> {
  const home = await initHome(join(await tempDir(t), name), { name })
  return start(t, home, name, options)
}

/** Two that do not know each other yet; the same options for both. */
export async function nodePair(
  t: ExecutionContext,
  options: TestMeshOptions = {},
): Promise<[TestMesh, TestMesh]> {
  return Promise.all([startMesh(t, 'alpha', options), startMesh(t, 'beta', options)])
}

/** Two that are paired: the second redeemed a ticket of the first. */
export async function pairedNodes(
  t: ExecutionContext,
  options: TestMeshOptions = {},
): Promise<[TestMesh, TestMesh]> {
  const [issuer, redeemer] = await nodePair(t, options)
  const { ticket } = await issuer.pairing.issueTicket({ expiresMs: 60_000, uses: 1, approve: 'auto' })
  await redeemer.pairing.redeem({ ticket })
  return [issuer, redeemer]
}

async function start(
  t: ExecutionContext,
  home: Home,
  name: string,
  options: TestMeshOptions,
): Promise<TestMesh> {
  const identity = await loadIdentity(home.identityKey)
  const stack = new AsyncDisposableStack()
  t.teardown(() => stack.disposeAsync())
  const store = stack.use(await openStateStore(home.state))
  const { pairingRequests = true, mdns = false, bootstrap = [], directory = false, ...more } = options
  const {
    listen = ['/ip4/127.0.0.1/tcp/0'],
    webrtc,
    relay,
    relayFor,
    relayQuota,
    relays,
    relaysFrom,
    ...clocks
  } = more
  const config = {
    name,
    listen,
    announce: [],
    webrtc,
    stunPort: 0,
    mdns,
    bootstrap,
    directory,
    pairingRequests,
    relay,
    relayFor,
    relayQuota,
    relays,
    relaysFrom,
  }
  const mesh = stack.use(await openMesh({ home, identity, store, config, ...clocks }))
  return {
    ...mesh,
    name,
    home,
    identity,
    store,
    addr: mesh.node.getMultiaddrs().at(0)?.toString() ?? '',
    restart: async () => {
      await stack.disposeAsync()
      return start(t, home, name, options)
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
