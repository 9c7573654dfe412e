/** The dialing side of pairing: reaching a peer that need not be paired, and keeping what it answers. */
import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Multiaddr } from '@multiformats/multiaddr'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { PAIRING_TIMEOUT_MS } from '../../protocol/limits.ts'
import type { PairingMessage } from '../../protocol/pairing-codec.ts'
import type { ConnectionPolicy } from '../mesh/connection-policy.ts'
import { dialAnywhere } from '../mesh/dial-peer.ts'
import type { MeshNode } from '../mesh/node.ts'
import type { AnswerParts } from './pairing-answers.ts'
import { ask, openStream } from './pairing-stream.ts'
import { withoutPeer } from '../mesh/peer-address.ts'
import type { PeerRecord } from '../mesh/peers.ts'
import { identifyNow } from '../mesh/stranger-privacy.ts'

/** What pairing is made of; owned by the caller. */
export interface PairingParts extends AnswerParts {
  readonly node: MeshNode
  readonly connectionPolicy: ConnectionPolicy
  /** The folder a ticket opens unless it names another. */
  readonly imports: string
}

export type PairingDialer = ReturnType<typeof createPairingDialer>

/** Asks peers on behalf of one agent, until `closing`; `onPaired` hears of every peer that is paired by it. */
export function createPairingDialer(
  parts: PairingParts,
  { closing, onPaired }: { closing: AbortSignal; onPaired: (record: PeerRecord) => void },
) {
  const { node, store, peers, pending, connectionPolicy, now } = parts

  /** Dials a peer that need not be paired, asks, and hangs up again unless it is known then. */
  async function askPeer<T>(
    peer: string,
    addrs: readonly Multiaddr[],
    question: PairingMessage,
    keep: (answer: PairingMessage, connection: Connection) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    if (peer === node.peerId.toString()) throw new FluidError('USAGE', 'An agent is not paired with itself')
    using _ = connectionPolicy.expect(peer)
    const id = peerIdFromString(peer)
    const stop = AbortSignal.any([closing, ...(signal ? [signal] : [])])
    try {
      const old = new Set(node.getConnections(id))
      let connection = await dial(peer, addrs, stop)
      const attempt = async () => {
        const stream = await openStream(connection, stop)
        return ask(stream, question, (answer) => keep(answer, connection), { signal: stop })
      }
      const kept = await attempt().catch(async (error) => {
        // A connection from before may be dead without knowing it. To ask twice is harmless.
        if (!old.has(connection) || asFluidError(error).code !== 'PEER_UNREACHABLE') throw error
        await node.hangUp(id)
        connection = await dial(peer, addrs, stop)
        return attempt()
      })
      if (peers.isPaired(peer)) await identifyNow(node, connection)
      return kept
    } finally {
      if (!connectionPolicy.isKnown(peer)) await node.hangUp(id).catch(() => {})
    }
  }

  async function dial(peer: string, addrs: readonly Multiaddr[], signal: AbortSignal): Promise<Connection> {
    try {
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(PAIRING_TIMEOUT_MS)])
      return await dialAnywhere(node, peer, addrs, { signal: deadline })
    } catch (cause) {
      signal.throwIfAborted()
      const where = addrs.length > 0 ? ` at ${addrs.map((addr) => withoutPeer(addr)).join(', ')}` : ''
      throw new FluidError('PEER_UNREACHABLE', `${peer} cannot be reached${where}`, {
        cause,
        peer,
        hint:
          addrs.length > 0
            ? 'Check that the peer runs, that its address can be reached from here, and that it still wants to be paired'
            : 'Give its multiaddr, with /p2p/ and its peer ID at the end; by ID alone are found agents of the local network, and of the directory if both are in it (bootstrap in config.toml)',
      })
    }
  }

  /** Keeps `peer` when `answer` says we are paired; otherwise throws, or returns undefined when a person must decide. */
  async function keepAnswer(
    peer: string,
    answer: PairingMessage,
    connection: Connection,
    wanted: string | undefined,
  ): Promise<PeerRecord | undefined> {
    if (answer.kind === 'waiting') return undefined
    if (answer.kind === 'refused') {
      const reason = answer.message || 'no reason given'
      throw new FluidError(answer.code, `The peer refused to be paired: ${reason}`, { peer })
    }
    if (answer.kind !== 'paired') {
      throw new FluidError('PROTOCOL_VIOLATION', `The peer answered to pairing with ${answer.kind}`, { peer })
    }
    const known = peers.get(peer)
    const record: PeerRecord = {
      peer,
      name: await peers.nameFor(peer, { wanted, claimed: answer.name }),
      pairedAt: known?.pairedAt ?? now(),
      addrs: connection.direction === 'outbound' ? [connection.remoteAddr.toString()] : (known?.addrs ?? []),
      granted: answer.grant,
    }
    await store.write([peers.putOp(record), ...pending.delOps(peer)])
    onPaired(record)
    return record
  }

  return { askPeer, keepAnswer }
}
