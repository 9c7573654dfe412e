/** The source's answers to questions for a lease, while it lets its grantor be asked. */
import { LEASE_MS } from '../../protocol/limits.ts'
import type { Parties } from '../../protocol/relocation-message.ts'
import { signBody } from '../../protocol/relocation-signed.ts'
import type { Identity } from '../identity.ts'
import { grantedUntil } from './lease.ts'
import type { RelocationStream } from './target-stream.ts'
import type { LeaseGrantor } from './target.ts'

export interface Granting {
  /** Asks the grantor, and sends what it says. */
  answer(nonce: Uint8Array): Promise<void>
  /** Grants no more. */
  stop(): void
}

export function createGranting(options: {
  readonly stream: RelocationStream
  readonly identity: Pick<Identity, 'sign'>
  readonly parties: Parties
  readonly grantor: LeaseGrantor
}): Granting {
  const { stream, identity, parties, grantor } = options
  let stopped = false
  const termOf = (nonce: Uint8Array, leaseMs: number) =>
    signBody('term', { ...parties, nonce, leaseMs }, identity.sign)

  return {
    async answer(nonce) {
      // Signed first: from the grantor's yes until it knows when the lease ends, nothing else may run in between.
      const term = await termOf(nonce, LEASE_MS)
      if (stopped) return
      if (grantor.grant(LEASE_MS)) {
        const sent = stream.send(0, { kind: 'lease', term })
        grantor.onGranted(grantedUntil(performance.now(), LEASE_MS))
        await sent
        return
      }
      stopped = true
      await stream.send(0, { kind: 'lease', term: await termOf(nonce, 0) })
    },
    stop() {
      stopped = true
    },
  }
}
