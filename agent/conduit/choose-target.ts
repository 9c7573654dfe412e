/** Where a service goes when no target was named: what brokers know fits it, in order, and whoever of them takes it in. */
import type { MatchRequest } from '../../protocol/catalog-message.ts'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import type { PlannedPlace } from '../../protocol/relocation-message.ts'
import type { MatchReport } from '../reports/offer-reports.ts'
import type { FoundMachine } from './introspect.ts'
import type { ServiceFile } from './service-file.ts'
import type { RelocationAnswer } from './target.ts'

/** Of peers that fit, so many are asked before the plan says no. */
const MAX_TARGETS_ASKED = 4

/** Who may be asked, the best first. */
export interface Choice {
  readonly match: MatchReport
  /** Paired ones that fit. */
  readonly peers: readonly string[]
}

/** Throws nothing: who is not paired, or does not fit, is in the match. */
export function choiceOf(match: MatchReport, isPaired: (peer: string) => boolean): Choice {
  const fitting = match.candidates.filter(({ rank }) => rank !== null)
  const peers = new Set(fitting.map(({ peer }) => peer).filter(isPaired))
  return { match, peers: [...peers].slice(0, MAX_TARGETS_ASKED) }
}

/** Why a choice names nobody. */
export function noChoice({ match }: Choice): FluidError {
  const best = match.candidates.find(({ rank }) => rank !== null)
  return new FluidError(
    'NO_MATCH',
    best ? `${best.provider} fits best, and this agent is not paired with it` : 'No offer fits this service',
    { hint: best ? `Pair with ${best.peer} first, or name a peer with --to` : undefined },
  )
}

/** What came of asking one after the other. */
export interface Asked {
  /** Who takes the service in; else the first that was asked. */
  readonly peer: string
  readonly places: readonly PlannedPlace[]
  /** What those asked before answered. */
  readonly warnings: readonly string[]
  /** Why the first one does not take it in; empty when somebody does. */
  readonly reasons: readonly FluidError[]
}

export async function askInTurn(
  peers: readonly string[],
  ask: (peer: string) => Promise<RelocationAnswer>,
  peerName: (peer: string) => string,
): Promise<Asked> {
  const refusals: { peer: string; reasons: readonly FluidError[] }[] = []
  const told = () =>
    refusals.map(({ peer, reasons }) => `${peerName(peer)} fits, and says no: ${reasons[0].message}`)
  for (const peer of peers) {
    try {
      const answer = await ask(peer)
      if (answer.accepted)
        return { peer, places: answer.places, warnings: [...answer.warnings, ...told()], reasons: [] }
      const reasons = answer.objections.map(
        ({ code, message, hint }) => new FluidError(code, message, { hint, peer }),
      )
      refusals.push({
        peer,
        reasons:
          reasons.length > 0
            ? reasons
            : [new FluidError('POLICY_DENIED', 'The target refused without a reason', { peer })],
      })
    } catch (error) {
      refusals.push({ peer, reasons: [asFluidError(error)] })
    }
  }
  const [first] = refusals
  return { ...first, places: [], warnings: told().slice(1) }
}

/** What the owner asked of a place, and at least what the machines are. */
export function requestFor(
  service: ServiceFile,
  machines: readonly FoundMachine[],
  live: boolean,
): MatchRequest {
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
