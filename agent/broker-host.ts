/** A broker beside an agent: the agent's node and policy serve it, its offers lie in the agent's state database. */
import { setTimeout as delay } from 'node:timers/promises'
import { peerIdFromString } from '@libp2p/peer-id'
import { openBroker } from '../broker/broker.ts'
import { CATALOG_PROTOCOL } from '../protocol/ids.ts'
import { BROKER_CONNECT_TIMEOUT_MS, BROKER_RETRY_CAP_MS, BROKER_RETRY_MS } from '../protocol/limits.ts'
import { hostOf } from './addresses.ts'
import type { AgentService, OpenService } from './agent.ts'
import { dialAnywhere } from './dial-peer.ts'
import { parsePeerAddress } from './peer-address.ts'

/** Runs a broker; its contacts are the brokers and the first contacts of the configuration. */
export const brokerService: OpenService = async ({ config, identity, level, mesh, log }) => {
  const { node, connectionPolicy } = mesh
  const { directory } = node.services
  const closing = new AbortController()
  const contacts = [...new Set([...config.brokers, ...config.bootstrap])].filter(
    (contact) => parsePeerAddress(contact).peer !== identity.peerId,
  )
  const broker = await openBroker(
    {
      level,
      node,
      privateKey: identity.privateKey,
      hostOf: ({ remoteAddr }) => hostOf(remoteAddr) ?? '',
      neighbourhood: {
        connect: async (contact, { signal }) => {
          const { peer, addrs } = parsePeerAddress(contact)
          using _ = connectionPolicy.expect(peer)
          const open = node.getConnections(peerIdFromString(peer)).find(({ status }) => status === 'open')
          return open ?? (await dialAnywhere(node, peer, addrs, { signal: within(signal) }))
        },
        openStream: (connection, { signal }) =>
          connection.newStream(CATALOG_PROTOCOL, { signal: within(signal) }),
        keep: (connection) => connectionPolicy.keep(connection.remotePeer.toString()),
        ...(directory && {
          async *discover({ signal }) {
            for await (const { peer, addrs } of directory.announced('broker', { signal }))
              if (peer !== identity.peerId) yield addrs.length > 0 ? withPeer(String(addrs[0]), peer) : peer
          },
        }),
      },
    },
    {
      contacts,
      onCompared: (peer, { missing, kept, wireBytes }) => {
        if (missing > 0) log.info({ peer, missing, kept, wireBytes }, 'Fetched offers of another broker')
      },
      onTrouble: (contact, { code, message }) => log.debug({ contact, code }, message),
    },
  )
  const announcing = announce().catch(() => {})

  /** Until somebody of the directory is there to be told; from then on the directory renews it. */
  async function announce(): Promise<void> {
    if (!directory) return
    for (let waitMs = BROKER_RETRY_MS; ; waitMs = Math.min(2 * waitMs, BROKER_RETRY_CAP_MS)) {
      try {
        return await directory.announce('broker', { signal: closing.signal })
      } catch {
        closing.signal.throwIfAborted()
        await delay(waitMs, undefined, { signal: closing.signal, ref: false })
      }
    }
  }

  const service: AgentService = {
    status: () => ({
      broker: {
        offers: broker.catalog.offers.length,
        neighbours: broker.neighbours,
        refused: broker.refused(),
      },
    }),
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      await announcing
      await broker[Symbol.asyncDispose]()
    },
  }
  return service
}

function within(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(BROKER_CONNECT_TIMEOUT_MS)])
}

function withPeer(addr: string, peer: string): string {
  return /\/p2p\/[^/]+$/.test(addr) ? addr : `${addr}/p2p/${peer}`
}
