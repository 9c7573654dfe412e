/**
 * States of a viaduct and the one table that moves both roles; spec viaduct.md, States.
 *
 * The table names who speaks (S opens the viaduct, R answers, * either), so both ends follow the same row: what one
 * sends the other receives. Messages that cross on the wire are allowed for, so that two sound peers never call
 * each other wrong; a test walks every interleaving.
 */
import type { ControlMessage } from './control-message.ts'
import { violation } from './field.ts'

export type Role = 'initiator' | 'responder'

/** A kind of message, told apart where its content decides what comes next. */
export type Word =
  | Exclude<ControlMessage['kind'], 'unknown'>
  /** An offer that is a dry run. */
  | 'plan'
  /** Committed, and more frames of it follow. */
  | 'committing'
  /** A fatal status. */
  | 'failure'
  | 'unknown'

export type ViaductEvent = `sent ${Word}` | `received ${Word}` | 'closed'

export type State =
  // Stream open; waits for S to speak. In: the start. Out: S hello.
  | 'connected'
  // S has said hello. Out: R hello, S offer.
  | 'hailed'
  // S has said hello and offered at once. Out: R hello.
  | 'hailed-with-offer'
  // Both have. Out: S offer, plan or verify-request.
  | 'greeted'
  // R considers an offer. Out: R pending, agreement, refusal.
  | 'offered'
  // The job waits for a person at R. In: R pending. Out: R agreement, refusal.
  | 'pending'
  // R has signed. In: R agreement. Out: S accept.
  | 'agreed'
  // Both have signed. In: S accept. Out: R's last committed.
  | 'accepted'
  // Data moves on lanes. In: R committed, the last resume. Out: S complete, pauses.
  | 'flowing'
  // One or both hold the data back; each lifts only its own pause. Out: resume of whoever paused; S complete.
  | 'paused-by-initiator'
  | 'paused-by-responder'
  | 'paused-by-both'
  // S has sent everything; R waits until it is durable, checks the root, reads back, renames. In: S complete. Out: R receipt, cancel.
  | 'completing'
  // R has renamed and signed the receipt. In: R receipt. Out: S receipt.
  | 'receipted'
  // R considers a plan. In: S plan. Out: R agreement, refusal.
  | 'planning'
  // R re-reads a volume. In: S verify-request. Out: R verify-result.
  | 'checking'
  // Ends. Nothing leads out of them, and whatever still arrives is ignored.
  | 'complete'
  | 'planned'
  | 'checked'
  | 'refused'
  | 'cancelled'
  | 'failed'

type Speaker = 'S' | 'R' | '*'
type Row = Readonly<Partial<Record<`${Speaker} ${Word}`, State>>>

/** States in which a viaduct ends. */
export const TERMINAL: ReadonlySet<State> = new Set<State>([
  'complete',
  'planned',
  'checked',
  'refused',
  'cancelled',
  'failed',
])

/** In every state but the terminal ones: what changes nothing, and what ends the attempt. */
const EVERYWHERE = { status: 'stay', heartbeat: 'stay', unknown: 'stay', failure: 'failed' } as const

/** state × who says what -> state. */
export const TRANSITIONS: Readonly<Record<State, Row>> = {
  connected: { 'S hello': 'hailed' },
  hailed: { 'R hello': 'greeted', 'S offer': 'hailed-with-offer' },
  'hailed-with-offer': { 'R hello': 'offered', 'S cancel': 'cancelled' },
  greeted: { 'S offer': 'offered', 'S plan': 'planning', 'S verify-request': 'checking' },

  offered: {
    'R pending': 'pending',
    'R agreement': 'agreed',
    'R refusal': 'refused',
    '* cancel': 'cancelled',
  },
  pending: {
    'R pending': 'pending',
    'R agreement': 'agreed',
    'R refusal': 'refused',
    '* cancel': 'cancelled',
  },
  agreed: { 'S accept': 'accepted', '* cancel': 'cancelled' },
  accepted: { 'R committing': 'accepted', 'R committed': 'flowing', '* cancel': 'cancelled' },

  flowing: {
    '* lane-report': 'flowing',
    'R checkpoint': 'flowing',
    'S pause': 'paused-by-initiator',
    'R pause': 'paused-by-responder',
    'S complete': 'completing',
    '* cancel': 'cancelled',
  },
  'paused-by-initiator': {
    '* lane-report': 'paused-by-initiator',
    'R checkpoint': 'paused-by-initiator',
    'S pause': 'paused-by-initiator',
    'S resume': 'flowing',
    'R pause': 'paused-by-both',
    '* cancel': 'cancelled',
  },
  'paused-by-responder': {
    '* lane-report': 'paused-by-responder',
    'R checkpoint': 'paused-by-responder',
    'R pause': 'paused-by-responder',
    'R resume': 'flowing',
    'S pause': 'paused-by-both',
    'S complete': 'completing',
    '* cancel': 'cancelled',
  },
  'paused-by-both': {
    '* lane-report': 'paused-by-both',
    'R checkpoint': 'paused-by-both',
    '* pause': 'paused-by-both',
    'S resume': 'paused-by-responder',
    'R resume': 'paused-by-initiator',
    '* cancel': 'cancelled',
  },

  completing: {
    'R verifying': 'completing',
    'R receipt': 'receipted',
    'R cancel': 'cancelled',
    // A wish: R may have renamed already, and answers with its cancel or its receipt.
    'S cancel': 'completing',
    // These may have crossed S's complete.
    'R lane-report': 'completing',
    'R checkpoint': 'completing',
    'R pause': 'completing',
    'R resume': 'completing',
  },
  receipted: {
    'S receipt': 'complete',
    // It crossed R's receipt and came too late.
    'S cancel': 'receipted',
  },

  planning: { 'R pending': 'planning', 'R agreement': 'planned', 'R refusal': 'refused' },
  checking: { 'R verify-result': 'checked', 'S cancel': 'cancelled' },

  complete: {},
  planned: {},
  checked: {},
  refused: {},
  cancelled: {},
  failed: {},
}

/** The state after `event` at this end of the viaduct; throws PROTOCOL_VIOLATION when the table has no such row. */
export function transition(role: Role, state: State, event: ViaductEvent): State {
  if (TERMINAL.has(state)) return state
  if (event === 'closed') return 'failed'
  const [direction, word] = event.split(' ') as ['sent' | 'received', Word]
  const everywhere = EVERYWHERE[word as keyof typeof EVERYWHERE]
  if (everywhere) return everywhere === 'stay' ? state : everywhere
  const speaker = (role === 'initiator') === (direction === 'sent') ? 'S' : 'R'
  const next = TRANSITIONS[state][`${speaker} ${word}`] ?? TRANSITIONS[state][`* ${word}`]
  if (!next)
    throw violation(`A ${word} message was ${direction} by the ${role}, which is not allowed while ${state}`)
  return next
}

/** The event that sending or receiving `message` is. */
export function eventOf(direction: 'sent' | 'received', message: ControlMessage): ViaductEvent {
  return `${direction} ${wordOf(message)}`
}

/** True in the states in which data is held back. */
export function isPaused(state: State): boolean {
  return state === 'paused-by-initiator' || state === 'paused-by-responder' || state === 'paused-by-both'
}

function wordOf(message: ControlMessage): Word {
  if (message.kind === 'offer' && message.dryRun) return 'plan'
  if (message.kind === 'committed' && message.more) return 'committing'
  if (message.kind === 'status' && message.fatal) return 'failure'
  return message.kind
}
