/** The listening side of pairing: what a dialer that redeems a ticket or asks to be paired is answered. */
import type { Connection } from '@libp2p/interface'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { MAX_PAIRING_FAILURES_PER_MINUTE } from '../../protocol/limits.ts'
import type { PairingMessage } from '../../protocol/pairing-codec.ts'
import { originOf } from '../mesh/addresses.ts'
import { createFailureLimit } from '../mesh/failure-limit.ts'
import type { PeerRecord, Peers } from '../mesh/peers.ts'
import type { PendingPairings } from './pending-pairings.ts'
import { grantSummary, type Policy } from './policy.ts'
import type { Refusals } from '../mesh/refusals.ts'
import type { StateStore } from '../state-store.ts'
import type { Tickets } from './tickets.ts'

/** What answers are made from; owned by the caller. */
export interface AnswerParts {
  readonly store: StateStore
  readonly peers: Peers
  readonly policy: Policy
  readonly tickets: Tickets
  readonly pending: PendingPairings
  readonly refusals: Refusals
  /** What this agent calls itself. */
  readonly name: string
  /** False: tickets only. */
  readonly acceptsRequests: boolean
  /** Unix time, ms. */
  readonly now: () => number
}

type Question<K extends PairingMessage['kind']> = Extract<PairingMessage, { kind: K }>

/** Answers to the questions of one agent's dialers. Refusals are answers; nothing here throws. */
export function createPairingAnswers(
  parts: AnswerParts,
  onPaired: (record: PeerRecord) => void,
): (question: PairingMessage, connection: Connection) => Promise<PairingMessage> {
  const { store, peers, policy, tickets, pending, refusals, name, acceptsRequests, now } = parts
  const failures = createFailureLimit({ max: MAX_PAIRING_FAILURES_PER_MINUTE, now })

  function paired(peer: string): PairingMessage {
    return { kind: 'paired', name, grant: grantSummary(policy.grantFor(peer)) }
  }

  async function redeem(
    question: Question<'redeem'>,
    peer: string,
    connection: Connection,
  ): Promise<PairingMessage> {
    const { ticketId: id, secret } = question
    let record: PeerRecord | undefined
    await tickets.redeem({ id, secret, peer, isPaired: peers.isPaired(peer) }, async (grant) => {
      record = await newPeer(peer, question.name, connection)
      return [
        peers.putOp(record),
        policy.putOp(peer, await policy.changed(peer, grant)),
        ...pending.delOps(peer),
      ]
    })
    if (record) onPaired(record)
    return paired(peer)
  }

  async function request(
    question: Question<'request'>,
    peer: string,
    connection: Connection,
  ): Promise<PairingMessage> {
    if (peers.isPaired(peer)) return paired(peer)
    // Both asked: both want it. This is also how a person's yes reaches whoever asked.
    const ours = pending.get('out', peer)
    if (ours) {
      const record = await newPeer(peer, question.name, connection, ours.name || undefined)
      await store.write([peers.putOp(record), ...pending.delOps(peer)])
      onPaired(record)
      return paired(peer)
    }
    if (!acceptsRequests) throw new FluidError('POLICY_DENIED', 'This agent is paired by ticket only')
    await pending.keepIn({ peer, name: question.name, host: originOf(connection.remoteAddr) })
    return { kind: 'waiting' }
  }

  async function newPeer(
    peer: string,
    claimed: string,
    connection: Connection,
    wanted?: string,
  ): Promise<PeerRecord> {
    const known = peers.get(peer)
    return {
      peer,
      name: await peers.nameFor(peer, { wanted, claimed }),
      pairedAt: known?.pairedAt ?? now(),
      // An inbound connection comes from a port nobody listens on; identify will tell.
      addrs: connection.direction === 'outbound' ? [connection.remoteAddr.toString()] : (known?.addrs ?? []),
      granted: known?.granted,
    }
  }

  return async (question, connection) => {
    const peer = connection.remotePeer.toString()
    const host = originOf(connection.remoteAddr)
    try {
      if (failures.isReached(host)) {
        refusals.count('pairing-rate')
        throw new FluidError('LIMIT_EXCEEDED', 'Too many failed attempts to be paired; wait a minute')
      }
      if (question.kind === 'redeem') return await redeem(question, peer, connection)
      if (question.kind === 'request') return await request(question, peer, connection)
      throw new FluidError('PROTOCOL_VIOLATION', `A pairing stream does not begin with ${question.kind}`)
    } catch (error) {
      const { code, message } = asFluidError(error)
      if (code === 'TICKET_INVALID' || code === 'PROTOCOL_VIOLATION') failures.fail(host)
      refusals.count(code === 'TICKET_INVALID' ? 'ticket' : 'pairing')
      // What went wrong inside is nobody else's business.
      const told = error instanceof FluidError ? message : 'Pairing failed inside the agent'
      return { kind: 'refused', code, message: told }
    }
  }
}
