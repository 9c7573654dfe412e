/** What the command line may ask about relocations: the calls of api.ts, put together from their parts. */
import type { MatchRequest } from '../../protocol/catalog-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import type { AgentApi, ErrorReport, RelocationSpec } from '../api.ts'
import type { Matcher } from '../broker-matching.ts'
import type { Peers } from '../peers.ts'
import type { FoundMachine } from './introspect.ts'
import type { Plan } from './plan.ts'
import type { RelocationParts } from './relocation-parts.ts'
import type { Relocations } from './relocations.ts'
import { parseServiceFile, type ServiceFile } from './service-file.ts'

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
      choose: async (_, machines) => {
        const request = requestFor(service, machines, live)
        const { candidates } = await matcher.match(request, { brokers: spec.brokers }, { signal })
        const fitting = candidates.filter(({ rank }) => rank !== null)
        const paired = fitting.find((candidate) => peers.get(candidate.peer) !== undefined)
        if (paired) return paired.peer
        const [best] = fitting
        throw new FluidError(
          'NO_MATCH',
          best
            ? `${best.provider} fits best, and this agent is not paired with it`
            : 'No offer fits this service',
          { hint: best ? `Pair with ${best.peer} first, or name a peer with --to` : undefined },
        )
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
    relocationWatch: ({ job }, { signal = forever } = {}) => relocations.watch(job, signal),
    relocationPause: async ({ job }) => (await relocations.pause(job)).report(),
    relocationResume: async ({ job }) => (await relocations.resume(job)).report(),
    cutover: async ({ job }) => (await relocations.cutover(job)).report(),
    rollback: async ({ job }) => (await relocations.rollBack(job)).report(),
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

/** What the owner asked of a place, and at least what the machines are. */
function requestFor(service: ServiceFile, machines: readonly FoundMachine[], live: boolean): MatchRequest {
  const sum = (of: (found: FoundMachine) => number) => machines.reduce((total, each) => total + of(each), 0)
  const disks = machines.flatMap((each) => each.disks.filter(({ moves }) => moves))
  const asked = service.request
  const need = asked?.need
  return {
    need: {
      vcpus: Math.max(
        need?.vcpus ?? 0,
        sum(({ asked: a, machine }) => a.target.vcpus ?? machine.vcpus),
      ),
      memoryBytes: Math.max(
        need?.memoryBytes ?? 0,
        sum(({ asked: a, machine }) => a.target.memoryBytes ?? machine.memoryBytes),
      ),
      storageBytes: Math.max(
        need?.storageBytes ?? 0,
        disks.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
      ),
      maxVolumeBytes: Math.max(need?.maxVolumeBytes ?? 0, ...disks.map(({ sizeBytes }) => sizeBytes)),
      formats: need?.formats ?? [],
      features: [...new Set([...(need?.features ?? []), ...(live ? ['live'] : [])])],
      jurisdictions: need?.jurisdictions ?? [],
      certifications: need?.certifications ?? [],
      direct: need?.direct ?? false,
    },
    want: asked?.want ?? { price: 1, egress: 0, moveTime: 0, rtt: 0, outcomes: 0 },
    have: {
      egressGibMicros: asked?.have.egressGibMicros ?? 0,
      currency: asked?.have.currency ?? '',
      allocatedBytes: disks.reduce((total, { allocatedBytes }) => total + allocatedBytes, 0),
    },
  }
}
