/**
 * Serves relocations to this agent. Default deny: a peer is paired and granted `relocate`, and both are asked again for
 * every message. What it may have open, ask in a second and send ahead is bounded. Spec: relocation.md.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { asFluidError, FluidError, type ErrorCode } from '../../protocol/errors.ts'
import { violation } from '../../protocol/field.ts'
import { RELOCATION_PROTOCOL } from '../../protocol/ids.ts'
import {
  MAX_RELOCATION_FRAME_BYTES,
  MAX_RELOCATION_STREAMS_PER_PEER,
  RELOCATION_IDLE_TIMEOUT_MS,
} from '../../protocol/limits.ts'
import type { RelocationFrame, RelocationMessage } from '../../protocol/relocation-message.ts'
import { bodyDigest, openSigned } from '../../protocol/relocation-signed.ts'
import { createTokenBucket, type TokenBucket } from '../../protocol/token-bucket.ts'
import type { Mesh } from '../mesh.ts'
import type { Grant } from '../pairing/policy.ts'
import type { Arrivals } from './target-arrivals.ts'
import type { ArrivalParts } from './target-parts.ts'
import { signedOf } from './target-record.ts'
import { requireRoots } from './target-roots.ts'
import { openRelocationStream, type RelocationStream } from './target-stream.ts'

export interface HostOptions {
  readonly mesh: Pick<Mesh, 'node' | 'policy' | 'connectionPolicy' | 'refusals'>
  readonly parts: ArrivalParts
  readonly arrivals: Arrivals
  readonly idleTimeoutMs?: number
}

/** Requests of one stream that are being answered. */
const MAX_ASKED_AT_ONCE = 4
/** Whole frames that may wait unread. */
const MAX_UNREAD_BYTES = 4 * MAX_RELOCATION_FRAME_BYTES
/** Requests of one peer, at once and in a second from then on: each plan is looked at in full. */
const REQUESTS_BURST = 64
const REQUESTS_PER_SECOND = 8

/** Handles RELOCATION_PROTOCOL on the node, until disposed. */
export async function serveRelocations(options: HostOptions): Promise<AsyncDisposable> {
  const { node, connectionPolicy, refusals } = options.mesh
  const open = new Map<string, number>()
  const rates = new Map<string, TokenBucket>()
  const streams = new Set<RelocationStream>()
  const handler = connectionPolicy.pairedOnly((raw: Stream, connection: Connection) => {
    const peer = connection.remotePeer.toString()
    const others = open.get(peer) ?? 0
    if (others >= MAX_RELOCATION_STREAMS_PER_PEER) {
      refusals.count('relocation-limit')
      raw.abort(new FluidError('LIMIT_EXCEEDED', 'Too many relocation streams of one peer'))
      return
    }
    open.set(peer, others + 1)
    const rate =
      rates.get(peer) ?? createTokenBucket({ burst: REQUESTS_BURST, perSecond: REQUESTS_PER_SECOND })
    rates.set(peer, rate)
    const stream = openRelocationStream(raw, { peer, maxUnreadBytes: MAX_UNREAD_BYTES })
    streams.add(stream)
    void serve(options, { peer, stream, rate }).finally(() => {
      streams.delete(stream)
      const left = (open.get(peer) ?? 1) - 1
      if (left > 0) open.set(peer, left)
      else open.delete(peer)
    })
  })
  await node.handle(RELOCATION_PROTOCOL, handler, { maxInboundStreams: 256, runOnLimitedConnection: true })
  return {
    [Symbol.asyncDispose]: async () => {
      await node.unhandle(RELOCATION_PROTOCOL)
      await Promise.allSettled([...streams].map((stream) => stream[Symbol.asyncDispose]()))
    },
  }
}

interface Conversation {
  readonly peer: string
  readonly stream: RelocationStream
  readonly rate: TokenBucket
}

async function serve(options: HostOptions, conversation: Conversation): Promise<void> {
  const { peer, stream, rate } = conversation
  const { refusals } = options.mesh
  let asked = 0
  let askedAt = performance.now()
  const { idleTimeoutMs = RELOCATION_IDLE_TIMEOUT_MS } = options
  const idle = setInterval(() => {
    if (asked > 0 || performance.now() - askedAt < idleTimeoutMs) return
    refusals.count('relocation-idle')
    stream.abort(new FluidError('TIMEOUT', 'Nothing was asked for too long', { peer }))
  }, idleTimeoutMs / 4)
  const answer = async ({ request, message }: RelocationFrame): Promise<void> => {
    asked++
    try {
      await heed(options, conversation, request, message)
    } catch (error) {
      if (stream.signal.aborted) return
      const { code, message: text } = asFluidError(error)
      refusals.count(kindOf(code))
      options.parts.log.info(
        { peer, code, asked: message.kind, error },
        'A request of a relocation was refused',
      )
      await stream.send(request, { kind: 'refused', code, message: text }).catch(() => {})
      // Whoever breaks the protocol is not listened to any more.
      if (code === 'PROTOCOL_VIOLATION') stream.abort(error)
    } finally {
      asked--
    }
  }
  try {
    for await (const frame of stream.frames()) {
      askedAt = performance.now()
      if (frame.message.kind === 'lease') {
        await answer(frame)
        continue
      }
      if (!rate.take() || asked >= MAX_ASKED_AT_ONCE) {
        refusals.count('relocation-limit')
        const message = 'More is asked than is answered here'
        await stream.send(frame.request, { kind: 'refused', code: 'LIMIT_EXCEEDED', message })
        continue
      }
      void answer(frame)
    }
  } catch (error) {
    const { code } = asFluidError(error)
    if (code === 'PROTOCOL_VIOLATION' || code === 'LIMIT_EXCEEDED') refusals.count(kindOf(code))
    options.parts.log.debug({ peer, error }, 'A relocation stream ended')
  } finally {
    clearInterval(idle)
    await stream[Symbol.asyncDispose]()
  }
}

/** Answers one message. Throws what is told in Refused. */
async function heed(
  { mesh, parts, arrivals }: HostOptions,
  { peer, stream }: Conversation,
  request: number,
  message: RelocationMessage,
): Promise<void> {
  const between = { source: peer, target: parts.identity.peerId }
  const say = (answer: RelocationMessage) => stream.send(request, answer)
  const known = (relocation: string) => {
    const arrival = arrivals.find(peer, relocation)
    if (!arrival) throw new FluidError('JOB_UNKNOWN', 'Nothing is known of this relocation here', { peer })
    return arrival
  }
  switch (message.kind) {
    case 'prepare': {
      const grant = requireGrant(mesh, peer)
      const plan = await openSigned('plan', message.plan, between)
      const answer = await arrivals.prepare(
        peer,
        grant,
        { plan, signed: message.plan, dry: message.dry },
        { signal: stream.signal, onPending: (reason) => say({ kind: 'pending', reason }) },
      )
      if (!answer.accepted) mesh.refusals.count('relocation')
      const none = { places: [], warnings: [], objections: [] }
      return await say({ kind: 'answer', ...none, ...answer })
    }
    case 'handover': {
      requireGrant(mesh, peer)
      const final = await openSigned('final', message.final, between)
      const arrival = known(final.relocation)
      const { record } = arrival
      if (record.state === 'prepared') {
        const { plan } = record.evidence
        if (!plan || Buffer.compare(bodyDigest(signedOf(plan).body), final.planDigest) !== 0)
          throw new FluidError('VERIFY_MISMATCH', 'The handover is of another plan', { peer })
      } else if (!arrival.isKept('final', message.final))
        throw new FluidError('JOB_STATE', `The relocation is ${record.state} here, by another handover`)
      const check = () => requireRoots(record, final.disks, parts.jobs())
      return await arrival.handOver(message.final, stream, request, check)
    }
    case 'lease': {
      const { relocation } = await openSigned('term', message.term, between)
      const arrival = arrivals.find(peer, relocation)
      if (!arrival) throw violation('A lease is of no relocation that is known here')
      return await arrival.lease(stream, message.term)
    }
    case 'commit': {
      requireGrant(mesh, peer)
      const { relocation } = await openSigned('pledge', message.pledge, between)
      const arrival = known(relocation)
      await arrival.commit(message.pledge)
      return await say({ kind: 'standing', state: arrival.standing })
    }
    case 'abort': {
      const release = await arrivals.release(peer, message.relocation, message.reason)
      return await say({ kind: 'released', release })
    }
    case 'finalize': {
      const arrival = arrivals.find(peer, message.relocation)
      await arrival?.finalize()
      return await say({ kind: 'standing', state: 'unknown' })
    }
    case 'inquire': {
      const arrival = arrivals.find(peer, message.relocation)
      return await say({ kind: 'standing', state: arrival?.standing ?? 'unknown' })
    }
    default:
      throw violation(`A source does not send ${message.kind}`)
  }
}

function requireGrant({ policy }: HostOptions['mesh'], peer: string): Grant {
  const grant = policy.grantFor(peer)
  if (!grant?.relocate) throw new FluidError('POLICY_DENIED', 'This peer may relocate nothing here', { peer })
  return grant
}

/** A few fixed words: what refusals are counted as. */
function kindOf(code: ErrorCode): string {
  switch (code) {
    case 'PROTOCOL_VIOLATION':
      return 'protocol-violation'
    case 'LIMIT_EXCEEDED':
      return 'relocation-limit'
    case 'POLICY_DENIED':
      return 'relocation-denied'
    default:
      return 'relocation'
  }
}
