/**
 * Whether a service serves: it is asked again and again until all checks have passed or the time is over. What failed last is
 * told in words. Commands are the operator's own, of the machine this runs on: none is ever taken from a peer.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { FluidError } from '../../protocol/errors.ts'
import type { HealthCheck } from '../../protocol/relocation-message.ts'
import { probeCommand, probeHttp, probeTcp } from './health-probes.ts'

/**
 * `http` passes with `status` (any from 200 to 299 when there is none) and a body that has `contains` in its first MiB;
 * `tcp` when a connection is accepted and not closed at once; `command` with exit status 0.
 */
export type ServiceCheck = HealthCheck | { readonly kind: 'command'; readonly command: readonly string[] }

export interface HealthOptions {
  readonly signal: AbortSignal
  /** For all checks together. */
  readonly deadlineMs: number
  /** Between two tries of one check. */
  readonly intervalMs?: number
  /** For one try. */
  readonly attemptMs?: number
  /** Called once a check. */
  readonly onPassed?: (passed: PassedCheck) => void
  /** Called each time a try failed, with what failed in words. */
  readonly onFailed?: (check: ServiceCheck, words: string) => void
}

export interface PassedCheck {
  readonly check: ServiceCheck
  readonly attempts: number
  /** From the call on. */
  readonly afterMs: number
}

const DEFAULT_INTERVAL_MS = 250
const DEFAULT_ATTEMPT_MS = 5_000

/**
 * When all have passed, each once, in their order. What passed long before the last may have failed since: unless all did at
 * the first try they are asked once more, until all do. Throws HEALTH_FAILED with what each of the others failed by last.
 */
export async function awaitHealthy(
  checks: readonly ServiceCheck[],
  options: HealthOptions,
): Promise<PassedCheck[]> {
  const { signal, deadlineMs, intervalMs = DEFAULT_INTERVAL_MS, attemptMs = DEFAULT_ATTEMPT_MS } = options
  signal.throwIfAborted()
  const deadline = AbortSignal.timeout(deadlineMs)
  const ending = AbortSignal.any([signal, deadline])
  const begun = performance.now()
  const failures = new Map<ServiceCheck, string>()

  const untilPassed = async (
    check: ServiceCheck,
    onPassed?: HealthOptions['onPassed'],
  ): Promise<PassedCheck | undefined> => {
    for (let attempts = 1; !ending.aborted; attempts++) {
      const failed = await probe(check, AbortSignal.any([ending, AbortSignal.timeout(attemptMs)]))
      if (failed === undefined) {
        const passed = { check, attempts, afterMs: performance.now() - begun }
        onPassed?.(passed)
        return passed
      }
      if (!ending.aborted) options.onFailed?.(check, `${nameOf(check)} ${failed}`)
      // A try that was cut off by the end says less than the one before.
      if (!ending.aborted || !failures.has(check)) failures.set(check, failed)
      await sleep(intervalMs, undefined, { signal: ending }).catch(() => {})
    }
    return undefined
  }

  const passed = await Promise.all(checks.map((check) => untilPassed(check, options.onPassed)))
  let last = passed
  while (checks.length > 1 && last.every(Boolean) && last.some((each) => each!.attempts > 1))
    last = await Promise.all(checks.map((check) => untilPassed(check)))
  signal.throwIfAborted()
  const failed = checks.filter((_, i) => !last[i])
  if (failed.length > 0) {
    const words = failed.map((check) => `${nameOf(check)} ${failures.get(check) ?? 'was not asked in time'}`)
    throw new FluidError('HEALTH_FAILED', `Within ${deadlineMs} ms not healthy: ${words.join('; ')}`)
  }
  return passed as PassedCheck[]
}

async function probe(check: ServiceCheck, signal: AbortSignal): Promise<string | undefined> {
  switch (check.kind) {
    case 'http':
      return probeHttp(check, signal)
    case 'tcp':
      return probeTcp(check, signal)
    case 'command':
      return probeCommand(check.command, signal)
  }
}

/** What is asked, for people: no user, password or query of a URL. */
function nameOf(check: ServiceCheck): string {
  if (check.kind === 'tcp') return `tcp ${check.host}:${check.port}`
  if (check.kind === 'command') return `command ${check.command[0]}`
  const { protocol, host, pathname } = new URL(check.url)
  return `${protocol}//${host}${pathname}`
}
