/**
 * States of a relocation at the source, and the one table that moves them; drawn in ARCHITECTURE.md, Conduit.
 *
 * A state is kept before what it allows is done, so that after a crash the record says the most that may have happened.
 * Who may let the machines run follows from the state alone: see rightOf().
 */

export type RelocationState =
  // The plan is kept; the target may hold a reservation. In: the start.
  | 'planned'
  // Disks travel for the first time, the machines run. In: planned, paused.
  | 'pre-copying'
  // What was written meanwhile travels, round after round. In: pre-copying; cutting-over, when a last round failed.
  | 'converging'
  // Its owner asked to wait. Tracking of writes may be on; no round runs.
  | 'paused'
  // The machines are stopped or being stopped, and the last round moves. Still this side's.
  | 'cutting-over'
  // Handed over: the target edits the disks and defines the machines, on leases from here.
  | 'adapting'
  // It starts them.
  | 'starting'
  // It asks them whether they serve.
  | 'verifying'
  // Healthy there, and the right to run given up for good. The stopped machines stay until they are finalized.
  | 'live'
  // Machines and disks are removed here.
  | 'finalizing'
  // No more leases: the machines run here again as soon as the target surely does not run them, and what is there goes.
  | 'rolling-back'
  // Ends.
  | 'finalized'
  | 'rolled-back'
  // Refused before anything was touched.
  | 'failed'

export type RelocationEvent =
  /** Live: tracking and the first round begin. */
  | 'pre-copy'
  /** The first round is done. */
  | 'copied'
  /** Machines are to be stopped: what is left fits, or the owner wants it now, or it is no live relocation. */
  | 'cut-over'
  | 'pause'
  | 'resume'
  /** Resumed before the target was asked. */
  | 'start over'
  /** The last round failed before any disk was whole at the target, and the machines run here again. */
  | 'run on'
  /** The target is about to be told that it may run them. */
  | 'hand-over'
  | 'target starts'
  | 'target checks'
  | 'healthy'
  | 'finalize'
  | 'removed'
  | 'roll-back'
  | 'restored'
  | 'refused'

type Row = Readonly<Partial<Record<RelocationEvent, RelocationState>>>

/** state × event -> state. */
export const RELOCATION_TRANSITIONS: Readonly<Record<RelocationState, Row>> = {
  planned: {
    'pre-copy': 'pre-copying',
    'cut-over': 'cutting-over',
    pause: 'paused',
    'roll-back': 'rolling-back',
    refused: 'failed',
  },
  'pre-copying': {
    copied: 'converging',
    'cut-over': 'cutting-over',
    pause: 'paused',
    'roll-back': 'rolling-back',
  },
  converging: { 'cut-over': 'cutting-over', pause: 'paused', 'roll-back': 'rolling-back' },
  paused: { resume: 'pre-copying', 'start over': 'planned', 'roll-back': 'rolling-back' },
  'cutting-over': { 'run on': 'converging', 'hand-over': 'adapting', 'roll-back': 'rolling-back' },
  adapting: {
    'target starts': 'starting',
    'target checks': 'verifying',
    healthy: 'live',
    'roll-back': 'rolling-back',
  },
  starting: {
    'target starts': 'starting',
    'target checks': 'verifying',
    healthy: 'live',
    'roll-back': 'rolling-back',
  },
  verifying: { 'target checks': 'verifying', healthy: 'live', 'roll-back': 'rolling-back' },
  live: { finalize: 'finalizing', 'roll-back': 'rolling-back' },
  finalizing: { removed: 'finalized' },
  'rolling-back': { restored: 'rolled-back' },
  finalized: {},
  'rolled-back': {},
  failed: {},
}

/** Nothing happens any more by itself. */
export function isEnd(state: RelocationState): boolean {
  return state === 'finalized' || state === 'rolled-back' || state === 'failed'
}

/** The state after `event`; RangeError when the table has no such row, which is a mistake of ours. */
export function nextState(state: RelocationState, event: RelocationEvent): RelocationState {
  const next = RELOCATION_TRANSITIONS[state][event]
  if (!next) throw new RangeError(`A relocation that is ${state} has no way to ${event}`)
  return next
}

/** True when the table has such a row. */
export function allows(state: RelocationState, event: RelocationEvent): boolean {
  return RELOCATION_TRANSITIONS[state][event] !== undefined
}

/**
 * Who may let the machines run: this side; nobody for certain but by a lease from here; nobody here for good. In
 * `rolling-back` it depends on what came before: whether the right was ever given away.
 */
export function rightOf(state: RelocationState): 'source' | 'lease' | 'target' {
  switch (state) {
    case 'adapting':
    case 'starting':
    case 'verifying':
      return 'lease'
    case 'live':
    case 'finalizing':
    case 'finalized':
      return 'target'
    default:
      return 'source'
  }
}
