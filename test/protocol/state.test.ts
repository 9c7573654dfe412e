import test from 'ava'
import type { ControlMessage } from '../../protocol/control-message.ts'
import {
  TERMINAL,
  TRANSITIONS,
  eventOf,
  isPaused,
  transition,
  type Role,
  type State,
  type ViaductEvent,
  type Word,
} from '../../protocol/state.ts'
import { violates } from './assertions.ts'

const STATES = Object.keys(TRANSITIONS) as State[]
const ROLES: readonly Role[] = ['initiator', 'responder']

/** What `role` may say in `state`, by the table. */
function speech(role: Role, state: State): Word[] {
  const us = role === 'initiator' ? 'S' : 'R'
  const words = Object.keys(TRANSITIONS[state])
    .map((key) => key.split(' '))
    .filter(([speaker]) => speaker === us || speaker === '*')
    .map(([, word]) => word as Word)
  return TERMINAL.has(state) ? [] : [...words, 'failure']
}

function reachable(from: State): Set<State> {
  const seen = new Set<State>([from])
  for (const state of seen) for (const next of Object.values(TRANSITIONS[state])) seen.add(next)
  return seen
}

test('TRANSITIONS reaches every state but failed from connected', (t) => {
  t.deepEqual([...reachable('connected'), 'failed'].toSorted(), STATES.toSorted())
})

test('TRANSITIONS leads from every state to an end, without a fault', (t) => {
  for (const state of STATES)
    t.true(
      [...reachable(state)].some((end) => TERMINAL.has(end)),
      state,
    )
})

test('TRANSITIONS has someone to speak in every state but the terminal ones', (t) => {
  for (const state of STATES) t.is(Object.keys(TRANSITIONS[state]).length === 0, TERMINAL.has(state), state)
})

test('TRANSITIONS names each speaker and word once in a row', (t) => {
  for (const [state, row] of Object.entries(TRANSITIONS)) {
    const sides = Object.keys(row).flatMap((key) =>
      key.startsWith('*') ? [`S${key.slice(1)}`, `R${key.slice(1)}`] : [key],
    )
    t.is(new Set(sides).size, sides.length, state)
  }
})

test('transition() keeps terminal states whatever happens', (t) => {
  const events: ViaductEvent[] = [
    'closed',
    'sent cancel',
    'received receipt',
    'received failure',
    'received unknown',
  ]
  for (const role of ROLES)
    for (const state of TERMINAL) for (const event of events) t.is(transition(role, state, event), state)
})

test('transition() fails an attempt whose stream closes in any other state', (t) => {
  for (const role of ROLES) {
    for (const state of STATES) if (!TERMINAL.has(state)) t.is(transition(role, state, 'closed'), 'failed')
  }
})

test('transition() ignores messages of later minors, heartbeats and statuses that are not fatal', (t) => {
  for (const role of ROLES) {
    for (const state of STATES) {
      for (const word of ['unknown', 'heartbeat', 'status'] as const)
        t.is(transition(role, state, `received ${word}`), state)
    }
  }
})

test('transition() moves both roles alike: what one sends the other receives', (t) => {
  for (const state of STATES) {
    for (const [speaker, listener] of [ROLES, ROLES.toReversed()]) {
      for (const word of speech(speaker, state)) {
        t.is(transition(speaker, state, `sent ${word}`), transition(listener, state, `received ${word}`))
      }
    }
  }
})

const illegal = test.macro((t, role: Role, state: State, event: ViaductEvent) => {
  violates(t, () => transition(role, state, event))
})

test('transition() refuses an offer before the hellos', illegal, 'responder', 'connected', 'received offer')
test('transition() refuses a hello from the wrong side', illegal, 'initiator', 'connected', 'received hello')
test('transition() refuses a second hello', illegal, 'responder', 'greeted', 'received hello')
test('transition() refuses a second offer', illegal, 'responder', 'offered', 'received offer')
test(
  'transition() refuses an agreement from the sender',
  illegal,
  'responder',
  'offered',
  'received agreement',
)
test('transition() refuses an acceptance of nothing', illegal, 'responder', 'offered', 'received accept')
test(
  'transition() refuses a checkpoint before anything was agreed',
  illegal,
  'initiator',
  'offered',
  'received checkpoint',
)
test(
  'transition() refuses a checkpoint from the sender',
  illegal,
  'responder',
  'flowing',
  'received checkpoint',
)
test(
  'transition() refuses complete before data may flow',
  illegal,
  'responder',
  'accepted',
  'received complete',
)
test('transition() refuses complete from the receiver', illegal, 'initiator', 'flowing', 'received complete')
test(
  'transition() refuses a receipt that nobody asked for',
  illegal,
  'initiator',
  'flowing',
  'received receipt',
)
test(
  'transition() refuses to lift the pause of the other side',
  illegal,
  'initiator',
  'paused-by-initiator',
  'received resume',
)
test('transition() refuses a cancel after the receipt', illegal, 'initiator', 'receipted', 'received cancel')
test(
  'transition() refuses committed ranges after the last',
  illegal,
  'initiator',
  'flowing',
  'received committed',
)

/**
 * Two ends and the words under way between them. Every interleaving of what the table allows each end to say, with
 * at most two words under way in each direction, which covers every crossing of two messages with two others.
 */
interface World {
  readonly sender: State
  readonly receiver: State
  readonly toReceiver: readonly Word[]
  readonly toSender: readonly Word[]
}

const UNDER_WAY = 2

function* successors(world: World): Generator<World> {
  const { sender, receiver, toReceiver, toSender } = world
  if (toReceiver.length < UNDER_WAY) {
    for (const word of speech('initiator', sender)) {
      yield {
        ...world,
        sender: transition('initiator', sender, `sent ${word}`),
        toReceiver: [...toReceiver, word],
      }
    }
  }
  if (toSender.length < UNDER_WAY) {
    for (const word of speech('responder', receiver)) {
      yield {
        ...world,
        receiver: transition('responder', receiver, `sent ${word}`),
        toSender: [...toSender, word],
      }
    }
  }
  if (toReceiver.length > 0) {
    const [word, ...rest] = toReceiver
    yield { ...world, receiver: transition('responder', receiver, `received ${word}`), toReceiver: rest }
  }
  if (toSender.length > 0) {
    const [word, ...rest] = toSender
    yield { ...world, sender: transition('initiator', sender, `received ${word}`), toSender: rest }
  }
}

test('transition() never calls a sound peer wrong, and both ends agree when nothing is under way', (t) => {
  const start: World = { sender: 'connected', receiver: 'connected', toReceiver: [], toSender: [] }
  const worlds = new Map([[JSON.stringify(start), start]])
  for (const world of worlds.values()) {
    for (const next of successors(world)) worlds.set(JSON.stringify(next), next)
  }
  for (const { sender, receiver, toReceiver, toSender } of worlds.values()) {
    if (toReceiver.length + toSender.length > 0) continue
    if (sender !== receiver)
      t.true(TERMINAL.has(sender) && TERMINAL.has(receiver), `${sender} against ${receiver}`)
  }
  t.true(worlds.size > 1000)
})

const said: readonly [ControlMessage, ViaductEvent][] = [
  [{ kind: 'resume' }, 'received resume'],
  [{ kind: 'committed', ranges: [], more: true }, 'received committing'],
  [{ kind: 'committed', ranges: [], more: false }, 'received committed'],
  [{ kind: 'status', code: 'NO_SPACE', message: '', fatal: true }, 'received failure'],
  [{ kind: 'status', code: 'NO_SPACE', message: '', fatal: false }, 'received status'],
]

test('eventOf() tells messages apart whose content decides what comes next', (t) => {
  for (const [message, event] of said) t.is(eventOf('received', message), event)
})

test('isPaused() knows the three pauses', (t) => {
  t.deepEqual(STATES.filter(isPaused), ['paused-by-initiator', 'paused-by-responder', 'paused-by-both'])
})
