/** `verify`: both ends read their volume again at the same time, and the roots are compared. */
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { formatRoot } from '../../protocol/manifest.ts'
import type { ErrorReport } from '../reports/error-report.ts'
import type { VerifyReport } from '../reports/job-reports.ts'
import { errorReport, type Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import { CHANGED_HINT, readJobVolume, requireComplete } from './job-volume.ts'
import { openViaduct } from '../viaduct/viaduct.ts'

/** Reads again here and at the peer. What could not be read is a reason in the report. Throws JOB_STATE before the job is complete. */
export async function verifyJob(
  parts: JobParts,
  job: Job,
  { deep, signal }: { deep: boolean; signal: AbortSignal },
): Promise<VerifyReport> {
  requireComplete(job)
  const startedAt = performance.now()
  const reasons: ErrorReport[] = []
  const blame = (error: unknown): undefined => {
    signal.throwIfAborted()
    reasons.push(errorReport(asFluidError(error)))
  }
  const [here, there] = await Promise.all([
    readJobVolume(parts, job, { deep, signal }).catch(blame),
    askPeer(parts, job, deep, signal).catch(blame),
  ])
  const [source, target] = job.record.direction === 'out' ? [here, there] : [there, here]
  const match = source !== undefined && target !== undefined && Buffer.compare(source.root, target.root) === 0
  if (source && target && !match) {
    const hint =
      'One of them was written to since the move, or a disk or memory is faulty: fluidcloud receipt shows the root that moved'
    reasons.push(
      errorReport(new FluidError('VERIFY_MISMATCH', 'Source and target have different roots now', { hint })),
    )
  }
  return {
    job: job.id,
    match,
    sourceRoot: source && formatRoot(source.root),
    targetRoot: target && formatRoot(target.root),
    deep,
    checkedBytes: (source?.checkedBytes ?? 0) + (target?.checkedBytes ?? 0),
    seconds: (performance.now() - startedAt) / 1000,
    reasons,
  }
}

async function askPeer(parts: JobParts, job: Job, deep: boolean, signal: AbortSignal) {
  const { stream } = await openViaduct(parts, job.record.peer, signal)
  await using _closing = stream
  await stream.send({ kind: 'verify-request', job: Buffer.from(job.id, 'hex'), deep })
  for (;;) {
    const message = await stream.receive()
    if (message.kind !== 'verify-result') continue
    if (message.root) return { root: message.root, checkedBytes: message.checkedBytes }
    const { code, message: text } = message.error ?? {
      code: 'UNEXPECTED' as const,
      message: 'The peer gave no reason',
    }
    const hint = code === 'VERIFY_MISMATCH' ? CHANGED_HINT : undefined
    throw new FluidError(code, text, { peer: stream.peer, hint })
  }
}
