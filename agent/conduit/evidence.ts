/** What both sides of a relocation signed, as people read it, each body opened and compared again. */
import { FluidError } from '../../protocol/errors.ts'
import type { Signed } from '../../protocol/relocation-message.ts'
import {
  bodyDigest,
  openSigned,
  SIGNERS,
  type BodyKind,
  type SignedBodies,
} from '../../protocol/relocation-signed.ts'
import type { RelocationReceiptReport } from '../reports/relocation-reports.ts'
import { signedOf, type KeptBody } from './target-record.ts'

/** One side's record, as far as it is evidence. */
export interface Evidence {
  readonly relocation: string
  readonly service: string
  readonly side: 'source' | 'target'
  readonly state: string
  readonly source: string
  readonly target: string
  readonly evidence: Partial<Record<BodyKind, KeptBody>>
}

/** In the order in which they are signed. */
const ORDER: readonly BodyKind[] = ['plan', 'final', 'term', 'outcome', 'pledge', 'release']
/** What there has to be once the source has given its right up. */
const OF_A_CHANGE: readonly BodyKind[] = ['plan', 'final', 'outcome', 'pledge']
const CHANGED: ReadonlySet<string> = new Set(['live', 'finalizing', 'committed', 'finalized'])

type Opened = { readonly [K in BodyKind]?: SignedBodies[K] }

/** Throws JOB_STATE when nothing is signed yet. */
export async function evidenceReport(kept: Evidence): Promise<RelocationReceiptReport> {
  const { relocation, service, side, state, source, target, evidence } = kept
  const kinds = ORDER.filter((kind) => evidence[kind])
  if (kinds.length === 0)
    throw new FluidError('JOB_STATE', `Relocation ${relocation} is ${state}, and nothing of it is signed yet`)
  const opened: Record<string, unknown> = {}
  for (const kind of kinds) opened[kind] = await open(kind, signedOf(evidence[kind]!), kept)
  const bodies = opened as Opened
  const belongs: Partial<Record<BodyKind, boolean>> = {
    final: evidence.plan && same(bodies.final?.planDigest, evidence.plan),
    outcome: evidence.final && same(bodies.outcome?.finalDigest, evidence.final),
  }
  const missing = CHANGED.has(state) ? OF_A_CHANGE.filter((kind) => !evidence[kind]) : []
  const shown = kinds.map((kind) => ({
    kind,
    signer: SIGNERS[kind],
    says: bodies[kind] === undefined ? 'not what it should be' : WORDS[kind](bodies),
    valid: bodies[kind] !== undefined && belongs[kind] !== false,
    ...evidence[kind]!,
  }))
  return {
    job: relocation,
    service,
    side,
    state,
    source,
    target,
    bodies: shown,
    roots: (bodies.final?.disks ?? []).map(({ machine, disk, root }) => ({ machine, disk, root })),
    missing,
    signaturesValid: missing.length === 0 && shown.every(({ valid }) => valid),
  }
}

/** Undefined when the body is not what it should be: another's, of another relocation, or not signed so. */
async function open(kind: BodyKind, signed: Signed, between: Evidence) {
  const value = await openSigned(kind, signed, between).catch(() => undefined)
  return value?.relocation === between.relocation ? value : undefined
}

function same(digest: Uint8Array | undefined, kept: KeptBody): boolean {
  return digest !== undefined && Buffer.compare(digest, bodyDigest(signedOf(kept).body)) === 0
}

const WORDS: Readonly<Record<BodyKind, (bodies: Opened) => string>> = {
  plan: ({ plan }) => `asks to take ${plan!.machines.map(({ machine }) => machine.name).join(', ')} in`,
  final: ({ final }) =>
    `hands over ${final!.disks.map(({ machine, disk }) => `${machine}/${disk}`).join(', ')} of stopped machines`,
  term: ({ term }) =>
    term!.leaseMs > 0 ? `lets them run for ${term!.leaseMs / 1000} s` : 'lets them run no more',
  outcome: ({ outcome }) =>
    outcome!.healthy ? 'they run and are healthy' : `nothing is left: ${outcome!.objections[0]?.message}`,
  pledge: () => 'gives them up for good',
  release: () => 'nothing of it is left',
}
