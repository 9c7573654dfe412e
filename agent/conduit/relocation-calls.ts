/** What the command line may ask about relocations: the calls of api.ts, put together from their parts. */
import { FluidError } from '../../protocol/errors.ts'
import type { AgentApi } from '../api.ts'
import type { ErrorReport } from '../reports/error-report.ts'
import type { RelocationSpec } from '../reports/relocation-reports.ts'
import type { Matcher } from '../brokers/broker-matching.ts'
import type { Peers } from '../mesh/peers.ts'
import { choiceOf, requestFor } from './choose-target.ts'
import type { Plan } from './plan.ts'
import type { RelocationParts } from './relocation-parts.ts'
import type { Relocations } from './relocations.ts'
import { parseServiceFile } from './service-file.ts'

export type RelocationCalls = Pick<
  AgentApi,
  | 'relocationPlan'
  | 'relocate'
  | 'relocations'
  | 'relocationWatch'
  | 'relocationPause'
  | 'relocationResume'
  | 'cutover'
  | 'rollback'
  | 'finalize'
>

export interface RelocationCallsParts {
  readonly parts: RelocationParts
  readonly relocations: Relocations
  readonly peers: Pick<Peers, 'resolve' | 'get'>
  readonly peerName: (peer: string) => string
  readonly matcher: Pick<Matcher, 'match'>
}

const forever = new AbortController().signal

export function createRelocationCalls(all: RelocationCallsParts): RelocationCalls {
  const { parts, relocations, peers, peerName, matcher } = all

  async function plan(spec: RelocationSpec, signal: AbortSignal): Promise<Plan> {
    const service = parseServiceFile(spec.text)
    const peer = spec.peer === undefined ? undefined : (await peers.resolve(spec.peer)).peer
    const live = spec.live ?? false
    // With all that reads guests and edits them: most agents never plan.
    const { planRelocation } = await import('./plan.ts')
    return await planRelocation(parts, service, {
      live,
      peer,
      peerName,
      signal,
      choose: async (machines) => {
        const request = requestFor(service, machines, live)
        const match = await matcher.match(request, { brokers: spec.brokers }, { signal })
        return choiceOf(match, (candidate) => peers.get(candidate) !== undefined)
      },
    })
  }

  return {
    relocationPlan: async (spec, { signal = forever } = {}) => (await plan(spec, signal)).report,
    async relocate(spec, { signal = forever } = {}) {
      const { report, record } = await plan(spec, signal)
      if (!record) throw refusalOf(report.reasons)
      return (await relocations.begin(record)).report()
    },
    relocations: async () => relocations.list(),
    relocationWatch: ({ job }, { signal = forever } = {}) =>
      job === undefined ? relocations.watchAll(signal) : relocations.watch(job, signal),
    relocationPause: async ({ job }) => (await relocations.pause(job)).report(),
    relocationResume: async ({ job }) => (await relocations.resume(job)).report(),
    cutover: async ({ job }) => (await relocations.cutover(job)).report(),
    rollback: async ({ job, targetGone }) => (await relocations.rollBack(job, { targetGone })).report(),
    finalize: async ({ job, keepDisks }) => (await relocations.finalize(job, { keepDisks })).report(),
  }
}

/** The first reason, and how many more there are. */
function refusalOf(reasons: readonly ErrorReport[]): FluidError {
  const [first] = reasons
  if (!first) return new FluidError('NO_MATCH', 'No target was found')
  const more = reasons.length > 1 ? ` (and ${reasons.length - 1} more; see --dry-run)` : ''
  return new FluidError(first.code, first.message + more, { hint: first.hint })
}
