import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { FluidError } from '../../protocol/errors.ts'
import { formatTicket, parseTicket, ticketSecretDigest, type Ticket } from '../../protocol/ticket.ts'
import { plain } from './assertions.ts'

const peer = '12D3KooWGRUyh3ecZ7tL2ipCKU2D2NFkm7xgCHZ4hVKjhqPN8tr1'
const ticket: Ticket = {
  peer,
  id: new Uint8Array(16).fill(1),
  secret: new Uint8Array(32).fill(2),
  addresses: [`/ip4/192.0.2.7/tcp/4040/p2p/${peer}`, `/ip6/2001:db8::1/tcp/4040/p2p/${peer}`],
  expiresAt: Date.UTC(2026, 10, 22, 13),
}
const before = { nowMs: ticket.expiresAt - 1 }

function reasonOf(t: ExecutionContext, text: string, options = before): string {
  const error = t.throws(() => parseTicket(text, options), { instanceOf: FluidError })
  t.is(error?.code, 'TICKET_INVALID')
  return error?.message ?? ''
}

test('parseTicket() inverts formatTicket()', (t) => {
  const arbitrary = fc.record({
    id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    secret: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    ports: fc.array(fc.integer({ min: 1, max: 65_535 }), { maxLength: 16 }),
    expiresAt: fc.integer({ min: 1, max: 4e12 }),
  })
  fc.assert(
    fc.property(arbitrary, ({ id, secret, ports, expiresAt }) => {
      const addresses = ports.map((port) => `/ip4/127.0.0.1/tcp/${port}/p2p/${peer}`)
      const issued: Ticket = { peer, id, secret, addresses, expiresAt }
      const text = formatTicket(issued)
      t.regex(text, /^fluid1[1-9A-HJ-NP-Za-km-z]+$/)
      t.deepEqual(plain(parseTicket(text, { nowMs: 0 })), plain(issued))
    }),
  )
})

test('parseTicket() ignores white space', (t) => {
  const text = formatTicket(ticket)
  t.deepEqual(plain(parseTicket(`  ${text.slice(0, 60)}\r\n  ${text.slice(60)}\n`, before)), plain(ticket))
})

test('formatTicket() gives every address its peer', (t) => {
  const text = formatTicket({ ...ticket, addresses: ['/dns4/a.example/tcp/1'] })
  t.deepEqual(parseTicket(text, before).addresses, [`/dns4/a.example/tcp/1/p2p/${peer}`])
})

test('parseTicket() calls every change of one character mistyped', (t) => {
  const text = formatTicket(ticket)
  for (let i = 'fluid1'.length; i < text.length; i++) {
    const other = text[i] === 'x' ? 'y' : 'x'
    t.regex(reasonOf(t, text.slice(0, i) + other + text.slice(i + 1)), /mistyped/)
  }
})

test('parseTicket() calls a cut ticket mistyped', (t) => {
  const text = formatTicket(ticket)
  for (const length of [6, 7, 20, text.length - 1]) t.regex(reasonOf(t, text.slice(0, length)), /mistyped/)
})

test('parseTicket() calls letters outside base58 mistyped', (t) => {
  t.regex(reasonOf(t, 'fluid10OIl'), /mistyped/)
})

test('parseTicket() tells an expired ticket from a mistyped one', (t) => {
  t.regex(reasonOf(t, formatTicket(ticket), { nowMs: ticket.expiresAt }), /expired at 2026-11-22T13:00:00/)
})

test('parseTicket() tells a ticket of a newer version', (t) => {
  t.regex(reasonOf(t, 'fluid2abc'), /newer version/)
})

test('parseTicket() refuses what is no ticket', (t) => {
  t.regex(reasonOf(t, 'hello'), /does not begin/)
  t.regex(reasonOf(t, ''), /does not begin/)
})

test('parseTicket() refuses a ticket over the limit', (t) => {
  t.regex(reasonOf(t, `fluid1${'2'.repeat(3000)}`), /longer than/)
})

test('formatTicket() refuses a short secret', (t) => {
  t.throws(() => formatTicket({ ...ticket, secret: new Uint8Array(16) }), { instanceOf: RangeError })
})

test('formatTicket() refuses more addresses than a ticket holds', (t) => {
  const addresses = Array.from({ length: 17 }, () => '/ip4/127.0.0.1/tcp/1')
  t.throws(() => formatTicket({ ...ticket, addresses }), { instanceOf: RangeError })
})

test('ticketSecretDigest() is not the secret, and differs with it', (t) => {
  const digest = ticketSecretDigest(ticket.secret)
  t.is(digest.length, 32)
  t.notDeepEqual(plain(digest), plain(ticket.secret))
  t.notDeepEqual(plain(digest), plain(ticketSecretDigest(new Uint8Array(32))))
})
