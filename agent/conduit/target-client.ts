/**
 * The target of a relocation over one stream: what the source's Conduit asks, and the leases it grants meanwhile. One
 * conversation; after a cut the caller opens another. What both sides signed is handed to `keep`. Spec: relocation.md.
 */
import { FluidError } from '../../protocol/errors.ts'
import { violation } from '../../protocol/field.ts'
import { RELOCATION_PROTOCOL } from '../../protocol/ids.ts'
import {
  HANDSHAKE_TIMEOUT_MS,
  RELOCATION_ANSWER_TIMEOUT_MS,
  RELOCATION_APPROVAL_TIMEOUT_MS,
  RELOCATION_PROGRESS_TIMEOUT_MS,
} from '../../protocol/limits.ts'
import type {
  Plan,
  RelocationFrame,
  RelocationMessageOf,
  RelocationRequestMessage,
  Signed,
} from '../../protocol/relocation-message.ts'
import {
  bodyDigest,
  encodeBody,
  openSigned,
  signBody,
  type BodyKind,
} from '../../protocol/relocation-signed.ts'
import { dialPeer } from '../mesh/dial-peer.ts'
import type { Identity } from '../identity.ts'
import type { Mesh } from '../mesh.ts'
import { createEventQueue, type EventQueue } from './target-events.ts'
import { createGranting, type Granting } from './target-granting.ts'
import { openRelocationStream, type RelocationStream } from './target-stream.ts'
import type { RelocationAnswer, RelocationRequest, RelocationTarget, TargetEvent } from './target.ts'

export interface TargetClientOptions {
  /** Who signs for this side. */
  readonly identity: Pick<Identity, 'peerId' | 'sign'>
  /** Peer ID of the target. */
  readonly peer: string
  /** What it was, or is to be, asked to take in. */
  readonly request: RelocationRequest
  /** Evidence: every body this side signed and sent, and every one of the target that it accepted. */
  readonly keep?: (kind: BodyKind, signed: Signed) => void
  /** Told while a person at the target thinks. */
  readonly onPending?: (reason: string) => void
}

/** Dials the paired target. Throws NOT_PAIRED, PEER_UNREACHABLE, and VERSION_UNSUPPORTED when it takes in no services. */
export async function openRelocationTarget(
  mesh: Pick<Mesh, 'node' | 'peers'>,
  options: TargetClientOptions,
  signal: AbortSignal,
): Promise<RelocationTarget> {
  const { peer } = options
  const within = AbortSignal.any([signal, AbortSignal.timeout(HANDSHAKE_TIMEOUT_MS)])
  const connection = await dialPeer(mesh, peer, { signal: within }).catch((cause: unknown) => {
    signal.throwIfAborted()
    throw cause instanceof FluidError ? cause : unreachable(peer, cause)
  })
  const stream = await connection
    .newStream(RELOCATION_PROTOCOL, { signal: within, runOnLimitedConnection: true })
    .catch((cause: unknown) => {
      signal.throwIfAborted()
      if ((cause as Error).name === 'UnsupportedProtocolError')
        throw new FluidError('VERSION_UNSUPPORTED', 'The peer cannot take in services', { cause, peer })
      throw unreachable(peer, cause)
    })
  return createTargetClient(openRelocationStream(stream, { peer }), options)
}

/** Speaks to the target over `stream`, which it owns. */
export function createTargetClient(stream: RelocationStream, options: TargetClientOptions): RelocationTarget {
  const { identity, peer, request, keep = () => {} } = options
  const { relocation } = request
  const between = { source: identity.peerId, target: peer }
  const parties = { relocation, ...between }
  const planOf = (asked: RelocationRequest): Plan => ({ ...asked, ...between })
  const planDigest = bodyDigest(encodeBody('plan', planOf(request)))
  const waiting = new Map<number, (frame: RelocationFrame) => void>()
  let started:
    | { readonly number: number; readonly events: EventQueue<TargetEvent>; readonly final: Uint8Array }
    | undefined
  let granting: Granting | undefined
  let last = 0

  /** The value in a body of the target about this relocation. */
  async function accept<K extends 'outcome' | 'release'>(kind: K, signed: Signed) {
    const value = await openSigned(kind, signed, between)
    if (value.relocation !== relocation) throw violation(`The ${kind} is of another relocation`)
    keep(kind, signed)
    return value
  }

  async function hear({ request: number, message }: RelocationFrame): Promise<void> {
    if (message.kind === 'ask') {
      if (message.relocation === relocation) await granting?.answer(message.nonce)
      return
    }
    if (started && number === started.number) {
      if (message.kind === 'progress') {
        started.events.put({ kind: 'progress', stage: message.stage, detail: message.detail })
        return
      }
      if (message.kind === 'changed') {
        started.events.put({
          kind: 'changed',
          machine: message.machine,
          path: message.path,
          diff: message.diff,
        })
        return
      }
      if (message.kind === 'verdict') {
        const { healthy, objections, timings, finalDigest } = await accept('outcome', message.outcome)
        if (Buffer.compare(finalDigest, started.final) !== 0)
          throw violation('The verdict is on another handover')
        started.events.put({ kind: 'verdict', healthy, objections, timings })
        return
      }
    }
    // Whoever gave up waiting does not care any more.
    waiting.get(number)?.({ request: number, message })
  }

  void (async () => {
    try {
      for await (const frame of stream.frames()) await hear(frame)
    } catch (error) {
      stream.abort(error)
    }
  })()

  async function ask<K extends 'answer' | 'standing' | 'released'>(
    message: RelocationRequestMessage,
    kind: K,
    timeoutMs = RELOCATION_ANSWER_TIMEOUT_MS,
  ): Promise<RelocationMessageOf<K>> {
    const number = ++last
    const { promise, resolve, reject } = Promise.withResolvers<RelocationMessageOf<K>>()
    const late = () =>
      reject(new FluidError('TIMEOUT', `The target did not answer ${message.kind} in time`, { peer }))
    let timer = setTimeout(late, timeoutMs)
    const broken = () => reject(stream.signal.reason as Error)
    stream.signal.addEventListener('abort', broken, { once: true })
    waiting.set(number, ({ message: answer }) => {
      if (answer.kind === 'pending') {
        clearTimeout(timer)
        timer = setTimeout(late, RELOCATION_APPROVAL_TIMEOUT_MS)
        options.onPending?.(answer.reason)
      } else if (answer.kind === 'refused')
        reject(new FluidError(answer.code, answer.message, { peer, refused: true }))
      else if (answer.kind === kind) resolve(answer as RelocationMessageOf<K>)
      else stream.abort(violation(`The target answered ${message.kind} with ${answer.kind}`))
    })
    try {
      await stream.send(number, message)
      return await promise
    } finally {
      clearTimeout(timer)
      waiting.delete(number)
      stream.signal.removeEventListener('abort', broken)
    }
  }

  async function signed<K extends 'plan' | 'final' | 'pledge'>(
    kind: K,
    value: Parameters<typeof encodeBody<K>>[1],
  ) {
    const made = await signBody(kind, value, identity.sign)
    keep(kind, made)
    return made
  }

  return {
    get heardAt() {
      return stream.heardAt
    },
    async prepare(asked, { dry }): Promise<RelocationAnswer> {
      if (asked.relocation !== relocation)
        throw new TypeError('This conversation is about another relocation')
      const plan = await signed('plan', planOf(asked))
      const answer = await ask({ kind: 'prepare', plan, dry }, 'answer')
      const { places, warnings, objections } = answer
      return answer.accepted ? { accepted: true, places, warnings } : { accepted: false, objections }
    },
    async *start(handover, grantor) {
      if (started) throw new TypeError('The handover was made in this conversation already')
      const final = await signed('final', { ...parties, planDigest, disks: handover.disks })
      const events = createEventQueue<TargetEvent>(stream.signal)
      started = { number: ++last, events, final: bodyDigest(final.body) }
      const refused = (error: unknown) => events.fail(error)
      waiting.set(started.number, ({ message }) => {
        if (message.kind === 'refused')
          refused(new FluidError(message.code, message.message, { peer, refused: true }))
        else stream.abort(violation(`The target answered a handover with ${message.kind}`))
      })
      granting = createGranting({ stream, identity, parties, grantor })
      try {
        await stream.send(started.number, { kind: 'handover', final })
        for (;;) {
          const event = await events.next(RELOCATION_PROGRESS_TIMEOUT_MS + request.gateMs)
          yield event
          if (event.kind === 'verdict') return
        }
      } catch (error) {
        granting.stop()
        throw error
      } finally {
        waiting.delete(started.number)
      }
    },
    async commit() {
      const pledge = await signed('pledge', parties)
      const { state } = await ask({ kind: 'commit', pledge }, 'standing')
      if (state !== 'committed') throw violation(`The target is ${state} after the commit`)
      granting?.stop()
    },
    async abort(reason) {
      granting?.stop()
      const { release } = await ask({ kind: 'abort', relocation, reason }, 'released')
      await accept('release', release)
    },
    async finalize() {
      await ask({ kind: 'finalize', relocation }, 'standing')
    },
    async inquire() {
      return (await ask({ kind: 'inquire', relocation }, 'standing')).state
    },
    [Symbol.asyncDispose]: async () => {
      granting?.stop()
      await stream[Symbol.asyncDispose]()
    },
  }
}

function unreachable(peer: string, cause: unknown): FluidError {
  return new FluidError('PEER_UNREACHABLE', 'The target does not answer', { cause, peer })
}
