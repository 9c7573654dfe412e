/**
 * How two agents come to know each other: by a ticket that one wrote and the other redeems, or by a request that a
 * person accepts. Spec: pairing.md. Paired is not allowed: only the ticket, or policy, grants anything.
 */
import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { FluidError } from '../../protocol/errors.ts'
import { PAIRING_PROTOCOL } from '../../protocol/ids.ts'
import type { PairingMessage } from '../../protocol/pairing-codec.ts'
import { isPeerId } from '../../protocol/peer-id.ts'
import { formatTicket, parseTicket } from '../../protocol/ticket.ts'
import { dialableAddrs } from '../mesh/addresses.ts'
import { createPairingAnswers } from './pairing-answers.ts'
import { createPairingDialer, type PairingParts } from './pairing-dialer.ts'
import { serve } from './pairing-stream.ts'
import { addrsOf, parsePeerAddress } from '../mesh/peer-address.ts'
import type { PeerRecord } from '../mesh/peers.ts'
import type { PendingRecord } from './pending-pairings.ts'
import { identifyNow } from '../mesh/stranger-privacy.ts'
import { createTurns } from '../turns.ts'

interface Waits {
  readonly signal?: AbortSignal
}

export interface Pairing extends AsyncDisposable {
  /** A new ticket, as text to hand over. Throws USAGE, POLICY_DENIED. */
  issueTicket(options: {
    expiresMs: number
    uses: number
    folder?: string
    maxBytes?: number
    approve: 'auto' | 'ask'
  }): Promise<{ ticket: string; expiresAt: number }>
  /** Throws TICKET_INVALID, PEER_UNREACHABLE, TIMEOUT, USAGE. Redeeming again after a lost answer is harmless. */
  redeem(options: { ticket: string; name?: string }, waits?: Waits): Promise<PeerRecord>
  /** Asks the peer of an ID, or of a multiaddr that ends in one: paired now, or pending until a person there says. */
  request(options: { peer: string; name?: string }, waits?: Waits): Promise<PeerRecord | PendingRecord>
  pending(): Promise<PendingRecord[]>
  /** Pairs with a peer that asked, granting nothing, and tells it if it can be reached. Throws USAGE. */
  accept(options: { peer: string; name?: string }): Promise<PeerRecord>
  /** Ends a request: theirs is told no when it asks again within a day, ours is withdrawn. Throws USAGE. */
  reject(options: { peer: string }): Promise<void>
  /** Ends the trust, the grant and every connection. The other side is not told. Throws NOT_PAIRED. */
  remove(options: { peer: string }): Promise<PeerRecord>
  /** Calls `listener` for every peer paired from now on, by whichever side. */
  onPaired(listener: (record: PeerRecord) => void): Disposable
}

/** Serves the pairing protocol on the node, until disposed. */
export async function openPairing(parts: PairingParts): Promise<Pairing> {
  const { node, store, peers, policy, tickets, pending, connectionPolicy, refusals, name, now } = parts
  const closing = new AbortController()
  const listeners = new Set<(record: PeerRecord) => void>()
  const running = new Set<Promise<unknown>>()
  /** One at a time: what is learned late of a peer must not bring it back. */
  const changing = createTurns(1)
  const answers = createPairingAnswers(parts, pairedNow)
  const { askPeer, keepAnswer } = createPairingDialer(parts, { closing: closing.signal, onPaired: pairedNow })

  function pairedNow(record: PeerRecord): void {
    for (const listener of listeners) listener(record)
  }

  /** Lets disposal wait for work that nobody else waits for. */
  function track(work: Promise<unknown>): void {
    const ended = work.catch(() => {}).finally(() => running.delete(ended))
    running.add(ended)
  }

  await node.handle(
    PAIRING_PROTOCOL,
    (stream, connection) => {
      if (!connectionPolicy.mayPair(connection.remotePeer.toString())) {
        refusals.count('stranger')
        stream.abort(new FluidError('NOT_PAIRED', 'This agent expects nobody'))
        return
      }
      const answered = serve(stream, (question) => answers(question, connection), closing)
      const counted = answered.catch((error) => {
        if (error instanceof FluidError && error.code === 'PROTOCOL_VIOLATION') refusals.count('pairing')
        throw error
      })
      track(counted.then(() => learnAddrs(connection)))
    },
    { maxInboundStreams: 2, maxOutboundStreams: 8, runOnLimitedConnection: true },
  )

  /** The dialer tells where it listens once it trusts us, which it does when it has kept the answer. */
  async function learnAddrs(connection: Connection): Promise<void> {
    const peer = connection.remotePeer
    if (!(await identifyNow(node, connection))) return
    const found = (await node.peerStore.get(peer)).addresses.map(({ multiaddr: addr }) => addr.toString())
    using _turn = await changing.take()
    const record = peers.get(peer.toString())
    if (record) await peers.put({ ...record, addrs: found })
    const waiting = pending.get('in', peer.toString())
    if (waiting) await pending.learnAddrs(waiting, found)
  }

  async function redeem(
    options: { ticket: string; name?: string },
    { signal }: Waits = {},
  ): Promise<PeerRecord> {
    // The issuer's clock decides, and it may have taken this ticket from us before it expired.
    const ticket = parseTicket(options.ticket, { nowMs: 0 })
    const { peer } = ticket
    if (!isPeerId(peer)) throw new FluidError('TICKET_INVALID', 'The ticket names no agent')
    // A name that is taken must not cost a use.
    if (options.name !== undefined) await peers.nameFor(peer, { wanted: options.name, claimed: '' })
    const question = { kind: 'redeem', ticketId: ticket.id, secret: ticket.secret, name } as const
    const keep = async (answer: PairingMessage, connection: Connection) => {
      const record = await keepAnswer(peer, answer, connection, options.name)
      if (!record)
        throw new FluidError('PROTOCOL_VIOLATION', 'The peer neither took the ticket nor refused it', {
          peer,
        })
      return record
    }
    return askPeer(peer, addrsOf(ticket.addresses, peer), question, keep, signal).catch((error) => {
      // An agent that expects nobody does not let us in to say so.
      if (!(error instanceof FluidError) || error.code !== 'PEER_UNREACHABLE' || ticket.expiresAt > now())
        throw error
      const when = new Date(ticket.expiresAt).toISOString()
      throw new FluidError('TICKET_INVALID', `The ticket expired at ${when}`, { cause: error, peer })
    })
  }

  async function request(
    options: { peer: string; name?: string },
    { signal }: Waits = {},
  ): Promise<PeerRecord | PendingRecord> {
    const { peer, addrs } = parsePeerAddress(options.peer)
    const before = pending.get('out', peer)
    const wanted = options.name ?? (before?.name || undefined)
    if (wanted !== undefined) await peers.nameFor(peer, { wanted, claimed: '' })
    const known = [...addrs, ...addrsOf(before?.addrs ?? [], peer)]
    // Kept first: whoever asks may be dialed back at once.
    const kept = await pending.keepOut({ peer, name: wanted ?? '', addrs: known.map(String) })
    const keep = async (answer: PairingMessage, connection: Connection) =>
      (await keepAnswer(peer, answer, connection, wanted)) ?? kept
    return askPeer(peer, known, { kind: 'request', name }, keep, signal).catch(async (error) => {
      // A no ends the request; a peer that is merely away may still say yes, if it ever heard of it.
      const heard = before !== undefined && error instanceof FluidError && error.retryable
      if (!heard) await store.write(pending.delOps(peer))
      throw error
    })
  }

  async function accept(options: { peer: string; name?: string }): Promise<PeerRecord> {
    const waiting = await pending.resolveIn(options.peer)
    const { peer } = waiting
    const record: PeerRecord = {
      peer,
      name: await peers.nameFor(peer, { wanted: options.name, claimed: waiting.name }),
      pairedAt: now(),
      addrs: waiting.addrs,
    }
    await store.write([peers.putOp(record), ...pending.delOps(peer)])
    pairedNow(record)
    // Removed again meanwhile: the answer must not bring it back.
    const keep = async (answer: PairingMessage, connection: Connection) =>
      peers.isPaired(peer) ? keepAnswer(peer, answer, connection, record.name) : undefined
    track(askPeer(peer, addrsOf(waiting.addrs, peer), { kind: 'request', name }, keep, undefined))
    return record
  }

  async function reject({ peer: text }: { peer: string }): Promise<void> {
    const ours = (await pending.list()).find((record) => record.direction === 'out' && record.peer === text)
    if (ours) return store.write(pending.delOps(ours.peer))
    await pending.reject(await pending.resolveIn(text))
  }

  async function remove({ peer: text }: { peer: string }): Promise<PeerRecord> {
    const record = await peers.resolve(text)
    const id = peerIdFromString(record.peer)
    {
      using _turn = await changing.take()
      await store.write([peers.delOp(record.peer), policy.delOp(record.peer), ...pending.delOps(record.peer)])
    }
    await node.hangUp(id).catch(() => {})
    await node.peerStore.delete(id).catch(() => {})
    return record
  }

  return {
    issueTicket: async ({ expiresMs, uses, folder = parts.imports, maxBytes = 0, approve }) => {
      const grant = { folder: await policy.grantableFolder(folder), maxBytes, approve }
      const { id, secret, expiresAt } = await tickets.issue({ expiresMs, uses, grant })
      return {
        ticket: formatTicket({
          peer: node.peerId.toString(),
          addresses: dialableAddrs(node),
          id,
          secret,
          expiresAt,
        }),
        expiresAt,
      }
    },
    redeem,
    request,
    pending: () => pending.list(),
    accept,
    reject,
    remove,
    onPaired: (listener) => {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort(new FluidError('INTERRUPTED', 'The agent is stopping'))
      if (node.status === 'started') await node.unhandle(PAIRING_PROTOCOL)
      await Promise.all(running)
    },
  }
}
