/** Why an attempt really ended: a broken lane is often only the first that is heard of what the peer is about to say. */
import { setTimeout as delay } from 'node:timers/promises'
import { asFluidError } from '../../protocol/errors.ts'

/** A peer that ends an attempt says why on the control stream at once, after its lanes. */
const VERDICT_WAIT_MS = 500

/** Resolves or rejects as `outcome`, but with what `hearing` says when a lane broke and the peer gives a reason. */
export async function withVerdict<T>(outcome: Promise<T>, hearing: Promise<unknown>): Promise<T> {
  try {
    return await outcome
  } catch (error) {
    if (asFluidError(error).code === 'LANE_FAILED') await Promise.race([hearing, delay(VERDICT_WAIT_MS)])
    throw error
  }
}
