/** Runs one relocation, step after step by its state, until it is over, rests, or waits for its owner. */
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { RETRY_CAP_MS, RETRY_EAGER_CAP_MS, RETRY_FIRST_MS } from '../../protocol/limits.ts'
import { awaitVerdict, commit, cutOver, runOnMeanwhile } from './cutover.ts'
import { finalize } from './finalize.ts'
import { prepare, preCopy } from './precopy.ts'
import { isPassing, type RelocationParts } from './relocation-parts.ts'
import { allows, isEnd, type RelocationState } from './relocation-state.ts'
import { reportOf, type Relocation } from './relocation.ts'
import { rollBack } from './rollback.ts'

/** How the agent and the owner reach a running relocation. */
export interface RunSignals {
  /** Aborted when the agent stops. */
  readonly stopping: AbortSignal
  /** Aborted when the owner has a wish; another one for each step. */
  step(): AbortSignal
  /** Resolves after `ms`, sooner when the owner has a wish or the peer connects. */
  wait(ms: number): Promise<void>
}

type Step = (parts: RelocationParts, relocation: Relocation, signal: AbortSignal) => Promise<void>

const STEPS: Readonly<Partial<Record<RelocationState, Step>>> = {
  planned: prepare,
  'pre-copying': preCopy,
  converging: preCopy,
  'cutting-over': cutOver,
  adapting: awaitVerdict,
  starting: awaitVerdict,
  verifying: awaitVerdict,
  live: commit,
  finalizing: finalize,
  'rolling-back': rollBack,
}

/** What a person can mend while the machines run: room on a disk, a cloud that is busy with another's backup. */
const MENDED: ReadonlySet<string> = new Set(['NO_SPACE', 'TARGET_WRITE', 'SOURCE_READ', 'CLOUD_FAILED'])

/** Never rejects. Its record says how far it came. */
export async function runRelocation(
  parts: RelocationParts,
  relocation: Relocation,
  { stopping, step, wait }: RunSignals,
): Promise<void> {
  const { record } = relocation
  let failures = 0
  let before: RelocationState | undefined
  for (;;) {
    const wish = step()
    try {
      if (stopping.aborted || (await heedWish(relocation)) === 'rest') return
      if (record.state !== before) failures = 0
      before = record.state
      const run = STEPS[record.state]
      if (!run || (record.state === 'live' && record.committed)) return
      await run(parts, relocation, AbortSignal.any([stopping, wish]))
    } catch (error) {
      if (stopping.aborted) return await runOnMeanwhile(parts, relocation)
      if (wish.aborted) continue
      const { code, message } = asFluidError(error)
      parts.log[failures === 0 ? 'info' : 'debug'](
        { relocation: relocation.id, state: record.state, code },
        `A step of a relocation failed: ${message}`,
      )
      const isSame = await settleFailure(relocation, error).catch((unkept: unknown) => {
        // Where the record cannot be written nothing is decided: the step is done again, until it can.
        parts.log[failures === 0 ? 'error' : 'debug'](
          { relocation: relocation.id, error: unkept },
          'A relocation cannot be noted, and waits',
        )
        relocation.show({ unkept: reportOf(unkept) })
        return true
      })
      if (isSame) await wait(waitMs(failures++))
    }
  }
}

/** Moves on as the owner wants. */
async function heedWish(relocation: Relocation): Promise<'rest' | 'go on'> {
  const { record } = relocation
  if (isEnd(record.state)) return 'rest'
  if (record.wanted === 'roll-back' && allows(record.state, 'roll-back')) {
    const cancelled = new FluidError('CANCELLED', `Relocation ${relocation.id} was taken back`)
    await relocation.become('roll-back', { error: reportOf(cancelled) })
  } else if (record.wanted === 'pause' && allows(record.state, 'pause')) {
    await relocation.become('pause')
  } else if (record.wanted === 'pause' && record.state !== 'paused') {
    // Too late: the machines stand still already.
    await relocation.update({ wanted: 'run' })
  } else if (record.wanted === 'finalize' && record.state === 'live' && record.committed) {
    await relocation.become('finalize')
  }
  return record.state === 'paused' ? 'rest' : 'go on'
}

/** Keeps the error, and goes back where going on would help nobody. True: the same step is tried again, later. */
async function settleFailure(relocation: Relocation, error: unknown): Promise<boolean> {
  const { record } = relocation
  const kept = { error: reportOf(error) }
  switch (record.state) {
    case 'planned':
      if (isPassing(error)) break
      await relocation.become('refused', kept)
      return false
    case 'pre-copying':
    case 'converging':
      if (isPassing(error)) break
      if (MENDED.has(kept.error?.code ?? '')) {
        // The machines run, and what has moved is worth keeping until somebody has looked.
        await relocation.become('pause', { ...kept, wanted: 'pause' })
        return false
      }
      await relocation.become('roll-back', kept)
      return false
    case 'cutting-over':
    case 'adapting':
    case 'starting':
    case 'verifying':
      // The machines stand still meanwhile.
      await relocation.become('roll-back', kept)
      return false
    // Why it goes back stays the reason; the way there is long at times.
    case 'rolling-back': {
      const { restored, targetGone, givenAway } = record
      const waits = givenAway === 'for-good' && !restored && !targetGone
      const way = waits ? `; if it is gone for good: fluidcloud rollback ${relocation.id} --target-gone` : ''
      await relocation.update({ detail: `trying again: ${kept.error?.message}${way}` })
      return true
    }
    // The only way is forward, however long it takes.
    default:
      break
  }
  await relocation.update(kept)
  return true
}

function waitMs(failures: number): number {
  const cap = failures < 60 ? RETRY_EAGER_CAP_MS : RETRY_CAP_MS
  return Math.min(cap, RETRY_FIRST_MS * 2 ** Math.min(failures, 20)) * (0.5 + Math.random() / 2)
}
