/** A broker beside an agent: the agent's node and policy serve it, its offers lie in the agent's state database. */
import { peerIdFromString } from '@libp2p/peer-id'
import { openBroker } from '../../broker/broker.ts'
import { CATALOG_PROTOCOL } from '../../protocol/ids.ts'
import { BROKER_CONNECT_TIMEOUT_MS } from '../../protocol/limits.ts'
import { originOf } from '../mesh/addresses.ts'
import type { AgentService, OpenService } from '../agent.ts'
import { dialAnywhere } from '../mesh/dial-peer.ts'
import { parsePeerAddress } from '../mesh/peer-address.ts'
import { announceAs } from '../reach/announce.ts'

/** Runs a broker; its contacts are the brokers and the first contacts of the configuration. */
export const brokerService: OpenService = async ({ config, identity, level, mesh, log }) => {
  const { node, connectionPolicy } = mesh
  const { directory } = node.services
  const contacts = [...new Set([...config.brokers, ...config.bootstrap])].filter(
    (contact) => parsePeerAddress(contact).peer !== identity.peerId,
  )
  const broker = await openBroker(
    {
      level,
      node,
      privateKey: identity.privateKey,
      hostOf: ({ remoteAddr }) => originOf(remoteAddr),
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
  const announcing = directory && announceAs('broker', directory)

  const service: AgentService = {
    status: () => ({
      broker: {
        offers: broker.catalog.offers.length,
        neighbours: broker.neighbours,
        refused: broker.refused(),
      },
    }),
    [Symbol.asyncDispose]: async () => {
      await announcing?.[Symbol.asyncDispose]()
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
