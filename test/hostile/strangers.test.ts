/** Peers nobody is paired with: what they can ask, guess and leave behind. */
import { randomBytes } from 'node:crypto'
import test from 'ava'
import { frameControl } from '../../protocol/frame-reader.ts'
import { CHUNKS_PROTOCOL, VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import { MAX_PAIRING_FAILURES_PER_MINUTE, MAX_PAIRING_FRAME_BYTES } from '../../protocol/limits.ts'
import { fluidcloud } from '../../protocol/pb/pairing.js'
import { parseTicket } from '../../protocol/ticket.ts'
import type { RoguePeer } from '../helpers/rogue-peer.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'

type Question = fluidcloud.pairing.v1.Frame.$Properties
const unchecked = (question: Question) => frameControl(fluidcloud.pairing.v1.Frame.encode(question).finish())

interface Way {
  readonly title: string
  act(stranger: RoguePeer): Promise<unknown>
  readonly counted: string
}

/** Rejects unless the agent ends what is opened without a word. */
async function endsUnanswered(stranger: RoguePeer, protocol: string): Promise<void> {
  const stream = await stranger.open(protocol).catch(() => undefined)
  if (!stream) return
  let heard = 0
  try {
    for await (const bytes of stream) heard += bytes.byteLength
  } catch {
    // Reset, as it is to be.
  }
  if (heard > 0) throw new Error(`${protocol} said ${heard} bytes to a stranger`)
}

const WAYS: readonly Way[] = [
  { title: 'a viaduct', counted: 'unpaired', act: (stranger) => endsUnanswered(stranger, VIADUCT_PROTOCOL) },
  {
    title: 'a chunk stream',
    counted: 'unpaired',
    act: (stranger) => endsUnanswered(stranger, CHUNKS_PROTOCOL),
  },
  {
    title: 'a pairing frame of 256 MiB by its prefix',
    counted: 'pairing',
    act: (stranger) => stranger.ask(Buffer.from('ffffff7f', 'hex')),
  },
  {
    title: 'a pairing frame that is too long',
    counted: 'pairing',
    act: (stranger) => stranger.ask(frameControl(new Uint8Array(MAX_PAIRING_FRAME_BYTES + 1))),
  },
  {
    title: 'a pairing frame that is garbage',
    counted: 'pairing',
    act: (stranger) => stranger.ask(frameControl(randomBytes(100).fill(255, 0, 10))),
  },
  {
    title: 'a request in a name with a terminal escape',
    counted: 'pairing',
    act: (stranger) => stranger.ask(unchecked({ request: { name: 'x\u001b]0;owned\u0007' } })),
  },
  {
    title: 'a request in a name with a line feed',
    counted: 'pairing',
    act: (stranger) => stranger.ask(unchecked({ request: { name: 'a\nadmin' } })),
  },
  {
    title: 'a request in a name of 1000 bytes',
    counted: 'pairing',
    act: (stranger) => stranger.ask(unchecked({ request: { name: 'n'.repeat(1000) } })),
  },
  {
    title: 'a ticket with a secret of 4 bytes',
    counted: 'pairing',
    act: (stranger) =>
      stranger.ask(unchecked({ redeem: { ticketId: randomBytes(16), secret: randomBytes(4) } })),
  },
  {
    title: 'an answer to a question nobody asked',
    counted: 'pairing',
    act: (stranger) => stranger.ask({ kind: 'paired', name: 'friend' }),
  },
]

let victim: Victim
test.before(async () => {
  victim = await openVictim()
})
test.after.always(() => victim[Symbol.asyncDispose]())

for (const { title, act, counted } of WAYS) {
  test.serial(`a stranger with ${title} gets nothing, and is counted`, async (t) => {
    const before = { files: await victim.files(), count: (await victim.refused())[counted] ?? 0 }
    const stranger = await victim.stranger()
    await act(stranger)
    t.true(((await victim.refused())[counted] ?? 0) > before.count, JSON.stringify(await victim.refused()))
    t.deepEqual(
      (await victim.agent.api.pairPending()).filter(({ peer }) => peer === stranger.peerId),
      [],
    )
    t.false((await victim.agent.api.pairList()).some(({ peer }) => peer === stranger.peerId))
    t.deepEqual(await victim.files(), before.files)
    await victim.serves(t)
    await stranger[Symbol.asyncDispose]()
  })
}

for (const protocol of ['/ipfs/id/1.0.0', '/ipfs/ping/1.0.0']) {
  test.serial(`a stranger hears nothing on ${protocol}`, async (t) => {
    const stranger = await victim.stranger()
    await t.notThrowsAsync(endsUnanswered(stranger, protocol))
    await stranger[Symbol.asyncDispose]()
  })
}

test.serial('a ticket that was used is worth nothing to the next', async (t) => {
  const ticket = await victim.ticket()
  const [first, second] = [await victim.stranger(), await victim.stranger()]
  await first.redeem(ticket)
  const { id, secret } = parseTicket(ticket)
  t.like(await second.ask({ kind: 'redeem', ticketId: id, secret, name: 'second' }), {
    kind: 'refused',
    code: 'TICKET_INVALID',
  })
  t.false((await victim.agent.api.pairList()).some(({ peer }) => peer === second.peerId))
})

// Last, for it brakes everyone who pairs from this host.
test.serial('guesses at a ticket’s secret are braked, and void the ticket', async (t) => {
  const ticket = await victim.ticket()
  const { id, secret } = parseTicket(ticket)
  const stranger = await victim.stranger()
  const answers = []
  for (let i = 0; i <= MAX_PAIRING_FAILURES_PER_MINUTE; i++) {
    answers.push(await stranger.ask({ kind: 'redeem', ticketId: id, secret: randomBytes(32), name: 'guess' }))
  }
  t.like(answers.at(-1), { kind: 'refused', code: 'LIMIT_EXCEEDED' })
  t.like(await stranger.ask({ kind: 'redeem', ticketId: id, secret, name: 'guess' }), { kind: 'refused' })
  t.false((await victim.agent.api.pairList()).some(({ peer }) => peer === stranger.peerId))
  await victim.serves(t)
})
