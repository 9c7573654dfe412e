import test from 'ava'
import {
  allows,
  isEnd,
  nextState,
  RELOCATION_TRANSITIONS,
  rightOf,
  type RelocationState,
} from '../../../agent/conduit/relocation-state.ts'

const STATES = Object.keys(RELOCATION_TRANSITIONS) as RelocationState[]

function reachable(from: RelocationState): Set<RelocationState> {
  const seen = new Set<RelocationState>([from])
  for (const state of seen) for (const next of Object.values(RELOCATION_TRANSITIONS[state])) seen.add(next)
  return seen
}

test('RELOCATION_TRANSITIONS reaches every state from planned', (t) => {
  t.deepEqual([...reachable('planned')].toSorted(), STATES.toSorted())
})

test('RELOCATION_TRANSITIONS leads from every state to an end, and from ends nowhere', (t) => {
  for (const state of STATES) {
    t.true([...reachable(state)].some(isEnd), state)
    t.is(Object.keys(RELOCATION_TRANSITIONS[state]).length === 0, isEnd(state), state)
  }
})

test('RELOCATION_TRANSITIONS lets every state roll back until machines are removed', (t) => {
  for (const state of STATES)
    t.is(
      allows(state, 'roll-back'),
      !isEnd(state) && state !== 'finalizing' && state !== 'rolling-back',
      state,
    )
})

test('RELOCATION_TRANSITIONS gives the right to run away in one place, and takes it back only by rolling back', (t) => {
  for (const state of STATES) {
    for (const [event, next] of Object.entries(RELOCATION_TRANSITIONS[state])) {
      const [before, after] = [rightOf(state), rightOf(next)]
      if (before === 'source' && after !== 'source') t.is(event, 'hand-over', state)
      if (before !== 'source' && after === 'source') t.is(event, 'roll-back', state)
      if (before === 'target' && after !== 'target') t.is(state, 'live')
      if (after === 'target' && before !== 'target') t.is(event, 'healthy')
    }
  }
})

test('nextState() throws for what the table does not have', (t) => {
  t.is(nextState('planned', 'pre-copy'), 'pre-copying')
  t.throws(() => nextState('finalized', 'roll-back'), { instanceOf: RangeError })
  t.throws(() => nextState('live', 'hand-over'), { instanceOf: RangeError })
})
