/** Before the cut-over: the target is asked, then round after round travels while the machines run. */
import { setTimeout as delay } from 'node:timers/promises'
import { FluidError } from '../../protocol/errors.ts'
import { carryRound, dirtyBytes } from './carry.ts'
import { convergence, predictDowntimeMs } from './convergence.ts'
import { MAX_ROUNDS_KEPT } from './relocation-record.ts'
import type { RelocationParts } from './relocation-parts.ts'
import type { Relocation } from './relocation.ts'
import { unlessAborted } from './unless-aborted.ts'

/** Between rounds that do not fit, when they are kept up; a round with nothing to do is over at once. */
const ROUND_PAUSE_MS = 1_000

/** Asks the target, which reserves its places; then the first round, or the cut-over, may begin. */
export async function prepare(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  await using target = await parts.openTarget(record, signal)
  // A person there may take a day; its owner here may think again meanwhile.
  const answer = await unlessAborted(target.prepare(record.request, { dry: false }), signal)
  if (!answer.accepted) {
    const [first] = answer.objections
    throw new FluidError(
      first?.code ?? 'POLICY_DENIED',
      first?.message ?? 'The target refused without a reason',
      {
        hint: first?.hint,
        peer: record.peer,
      },
    )
  }
  signal.throwIfAborted()
  await relocation.become(record.live ? 'pre-copy' : 'cut-over', { places: answer.places, error: undefined })
}

/** Rounds until the rest fits, or does not come to fit. */
export async function preCopy(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  const { maxDowntimeMs, onNoConvergence } = record.service.cutover
  for (;;) {
    if (record.forced && !record.roundFirst) return await relocation.become('cut-over')
    const carried = await carryRound(parts, relocation, { last: false, signal })
    const dirty = await dirtyBytes(parts, relocation, signal)
    const facts = { ...carried, dirtyBytes: dirty }
    const rounds = [...record.rounds, facts].slice(-MAX_ROUNDS_KEPT)
    relocation.show({
      dirtyBytes: dirty,
      dirtyBytesPerSecond: carried.seconds > 0 ? dirty / carried.seconds : undefined,
      predictedDowntimeMs: predictDowntimeMs(rounds, dirty),
    })
    const done = { rounds, error: undefined, detail: undefined, roundFirst: undefined }
    if (record.state === 'pre-copying') await relocation.become('copied', done)
    else await relocation.update(done)
    if (record.forced) return await relocation.become('cut-over')
    const outcome = convergence(rounds, maxDowntimeMs)
    if (outcome === 'fits') return await relocation.become('cut-over')
    if (outcome === 'not-converging') {
      const predicted = Math.round(predictDowntimeMs(rounds, dirty) / 100) / 10
      if (onNoConvergence === 'stop')
        throw new FluidError(
          'NOT_CONVERGING',
          `The machines would stand still for ${predicted} s, and more rounds do not make it less; allowed are ${maxDowntimeMs / 1000} s`,
          {
            hint: 'Allow more in cutover.max_downtime, say on_no_convergence = "keep", or try at a quieter hour',
          },
        )
      await relocation.update({
        detail: `not converging: ${predicted} s; fluidcloud cutover ${relocation.id} does not wait`,
      })
      await delay(ROUND_PAUSE_MS, undefined, { signal })
    }
  }
}
