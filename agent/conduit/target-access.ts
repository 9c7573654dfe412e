/**
 * Whether what stays elsewhere, such as an object store, is reached from here with what the machines will be given. It asks
 * others, who answer when they like: only for who is let in, and never while others wait for their turn.
 */
import { asFluidError } from '../../protocol/errors.ts'
import { MAX_OBJECTIONS } from '../../protocol/limits.ts'
import type { Objection } from '../../protocol/relocation-message.ts'
import { hostPort } from '../mesh/addresses.ts'
import { isNeverAsked, isOfThisHost } from './asked-addresses.ts'
import type { ArrivalParts } from './target-parts.ts'
import type { RelocationRequest } from './target.ts'

/** For all that is reached on trial: well within what the source waits for an answer. */
const ACCESS_TIMEOUT_MS = 20_000

/** Tries everything. Throws the signal's reason alone. */
export async function accessObjections(
  { machines }: RelocationRequest,
  { migrator, stores }: Pick<ArrivalParts, 'migrator' | 'stores'>,
  signal: AbortSignal,
): Promise<Objection[]> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(ACCESS_TIMEOUT_MS)])
  const mayAsk = (address: string, port: number) =>
    stores.includes(hostPort(address, port)) || !(isOfThisHost(address) || isNeverAsked(address))
  const objections: Objection[] = []
  for (const { machine, steps } of machines) {
    for (const step of steps) {
      try {
        await (await migrator(step)).testAccess?.(step.input, { signal: within, mayAsk })
      } catch (error) {
        signal.throwIfAborted()
        const { code, message, hint } = asFluidError(error, 'MIGRATOR_FAILED')
        objections.push({ code, message: `${machine.name}: ${message}`, hint })
      }
    }
  }
  return objections.slice(0, MAX_OBJECTIONS)
}
