/** What a move would do: the source is opened, the target asked, nothing changed. All reasons against it at once. */
import { randomBytes } from 'node:crypto'
import { asFluidError } from '../../protocol/errors.ts'
import { decodeAgreement } from '../../protocol/agreement.ts'
import type { Agreement } from '../../protocol/control-message.ts'
import { JOB_ID_BYTES } from '../../protocol/limits.ts'
import { prepareSource, type PreparedSource } from '../../transfer/prepared-source.ts'
import type { ErrorReport } from '../reports/error-report.ts'
import type { MoveSpec, PlanReport } from '../reports/job-reports.ts'
import { errorReport } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import type { JobOptions, JobRecord } from './job-record.ts'
import { offerOf } from './offer-of.ts'
import { heardOfGrant, reasonError } from './outgoing-agreement.ts'
import { sourceWarnings } from './source-warnings.ts'
import { openViaduct } from '../viaduct/viaduct.ts'

/** Asks the target what it would answer. Reasons of source and target come in the report; it throws only when aborted. */
export async function planMove(
  parts: JobParts,
  spec: MoveSpec & Pick<JobRecord, 'sourceFormat'>,
  peer: string,
  options: JobOptions,
  signal: AbortSignal,
): Promise<PlanReport> {
  const reasons: ErrorReport[] = []
  const blame = (error: unknown): undefined => {
    signal.throwIfAborted()
    reasons.push(errorReport(asFluidError(error)))
  }
  await using source = await prepareSource(spec.source, {
    lanes: 1,
    signal,
    format: spec.sourceFormat,
  }).catch(blame)
  const answer = source && (await askTarget(parts, spec, peer, options, source, signal).catch(blame))
  if (answer) reasons.push(...answer.reasons)
  const agreement = answer?.agreement
  return {
    feasible: reasons.length === 0,
    source: spec.source,
    sourceFormat: source?.format ?? 'unknown',
    peer,
    destination: spec.destination,
    logicalBytes: source?.sizeBytes ?? 0,
    allocatedBytes: answer?.allocatedBytes ?? 0,
    targetFormat: options.format,
    replacesExisting: agreement?.replacesExisting ?? false,
    inPlace: agreement?.inPlace,
    freeBytes: agreement?.freeBytes,
    chunking: agreement?.chunking,
    codecs: agreement?.codecs,
    lanes: agreement?.lanes,
    needsApproval: answer?.needsApproval ?? false,
    warnings: [...sourceWarnings(spec.source), ...inPlaceWarnings(options, agreement)],
    reasons,
  }
}

/** What changing a version in place means, or that it will not be. */
function inPlaceWarnings({ inPlace }: JobOptions, agreement: Agreement | undefined): string[] {
  if (!inPlace || !agreement) return []
  const { destination } = agreement
  return [
    agreement.inPlace
      ? `Until the job is done nothing lies under ${destination} there: the version that does becomes the new one. If the job is cancelled or fails, it is put back`
      : `The new version will be made beside the old one and not in place: there is none, it is in use or has other names, or the peer cannot`,
  ]
}

async function askTarget(
  parts: JobParts,
  spec: MoveSpec,
  peer: string,
  options: JobOptions,
  source: PreparedSource,
  signal: AbortSignal,
) {
  const { stream, roundTripMs } = await openViaduct(parts, peer, signal)
  await using _closing = stream
  const record = {
    job: randomBytes(JOB_ID_BYTES).toString('hex'),
    destination: spec.destination,
    source: spec.source,
    options,
  }
  const offer = await offerOf(parts, record, source, await source.fingerprint(), { roundTripMs })
  const { allocatedBytes } = offer
  await stream.send({ kind: 'offer', ...offer })
  let needsApproval = false
  for (;;) {
    const message = await stream.expect('pending', 'agreement', 'refusal')
    await heardOfGrant(parts, peer, message)
    if (message.kind === 'pending') needsApproval = true
    else if (message.kind === 'agreement') {
      return { allocatedBytes, needsApproval, agreement: decodeAgreement(message.body), reasons: [] }
    } else {
      const reasons = message.reasons.map((reason) => errorReport(reasonError(reason, { peer })))
      return { allocatedBytes, needsApproval, agreement: undefined, reasons }
    }
  }
}
