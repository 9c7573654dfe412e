/** A relocation stream without rules: frames that a test writes by hand, sound or not, and all that is answered. */
import { randomBytes } from 'node:crypto'
import { dialPeer } from '../../agent/mesh/dial-peer.ts'
import { openRelocationStream } from '../../agent/conduit/target-stream.ts'
import type { JobParts } from '../../agent/job-parts.ts'
import { frameControl } from '../../protocol/frame-reader.ts'
import { RELOCATION_PROTOCOL } from '../../protocol/ids.ts'
import type { RelocationFrame, RelocationMessage } from '../../protocol/relocation-message.ts'
import { bodySigningBytes, type BodyKind } from '../../protocol/relocation-signed.ts'

export interface RogueRelocation {
  readonly source: string
  readonly target: string
  send(message: RelocationMessage): number
  sendBytes(bytes: Uint8Array): void
  /** The next frame of these kinds; others are passed over. Rejects when the stream ends first. */
  hear(...kinds: RelocationMessage['kind'][]): Promise<RelocationFrame>
  /** Resolves with the reason when the other side has ended the stream. */
  readonly ended: Promise<unknown>
  sign(kind: BodyKind, body: Uint8Array): Promise<{ body: Uint8Array; signature: Uint8Array }>
}

/** Opens one from the agent that `parts` are of to its only peer. */
export async function openRogue(parts: JobParts): Promise<RogueRelocation> {
  const [{ peer }] = await parts.mesh.peers.list()
  const connection = await dialPeer(parts.mesh, peer)
  const raw = await connection.newStream(RELOCATION_PROTOCOL)
  const stream = openRelocationStream(raw, { peer })
  const heard: RelocationFrame[] = []
  let taken = 0
  let over: Error | undefined
  let wake = Promise.withResolvers<void>()
  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  const ended = (async () => {
    try {
      for await (const frame of stream.frames()) {
        heard.push(frame)
        stir()
      }
    } catch (error) {
      over = error as Error
    }
    stir()
    return over
  })()
  let last = 0
  return {
    source: parts.identity.peerId,
    target: peer,
    send(message) {
      stream.send(++last, message).catch(() => {})
      return last
    },
    sendBytes: (bytes) => {
      try {
        raw.send(frameControl(bytes))
      } catch {
        // Ended meanwhile.
      }
    },
    async hear(...kinds) {
      for (;;) {
        while (taken < heard.length) {
          const frame = heard[taken++]
          if (kinds.includes(frame.message.kind)) return frame
        }
        if (over) throw over
        await wake.promise
      }
    },
    ended,
    sign: async (kind, body) => ({
      body,
      signature: await parts.identity.sign(bodySigningBytes(kind, body)),
    }),
  }
}

export function nonce(): Uint8Array {
  return randomBytes(16)
}
