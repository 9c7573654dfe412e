import test from 'ava'
import type { Fence } from '../../../agent/conduit/fence.ts'
import { createLeaseHolder } from '../../../agent/conduit/target-lease.ts'
import type { RelocationStream } from '../../../agent/conduit/target-stream.ts'
import { createIdentityKey, parseIdentity } from '../../../agent/identity.ts'
import { LEASE_MS } from '../../../protocol/limits.ts'
import type { RelocationMessage } from '../../../protocol/relocation-message.ts'
import { signBody } from '../../../protocol/relocation-signed.ts'

test('createLeaseHolder() lets machines run only by a lease that its guard was told of', async (t) => {
  const source = parseIdentity(await createIdentityKey())
  const parties = { relocation: 'ab'.repeat(16), source: source.peerId, target: source.peerId }
  const disk = { full: true }
  const told: number[] = []
  const held: boolean[] = []
  const asked: Uint8Array[] = []
  const stream = {
    signal: new AbortController().signal,
    send: async (_: number, message: RelocationMessage) => {
      if (message.kind === 'ask') asked.push(message.nonce)
    },
  } as unknown as RelocationStream
  const fence = {
    extend: async (until: number) => {
      if (disk.full) throw new Error('The disk is full')
      told.push(until)
    },
  } as unknown as Fence
  using holder = createLeaseHolder({
    parties,
    fence,
    onHeld: (lapsed) => held.push(lapsed),
    onDenied: () => t.fail(),
    now: () => 0,
  })
  const answer = async () =>
    holder.heed(
      stream,
      await signBody('term', { ...parties, nonce: asked.at(-1)!, leaseMs: LEASE_MS }, source.sign),
    )
  holder.attach(stream)
  await answer()
  t.false(holder.letsRun)
  t.deepEqual(held, [])
  disk.full = false
  holder.attach(stream)
  await answer()
  t.true(holder.letsRun)
  t.deepEqual({ told, held }, { told: [LEASE_MS], held: [true] })
})
