/** The lines of --json: one object each, with the fields scripts rely on and no others. */
import type { FluidError } from '../../protocol/errors.ts'
import type { JobReport } from '../reports/job-reports.ts'

/** `{"v":1,"type":…}` and the fields, with its newline. Undefined fields are left out. */
export function formatEvent(type: string, fields: object): string {
  return `${JSON.stringify({ v: 1, type, ...fields })}\n`
}

/** What a `progress` line says. `etaSeconds` is null while it cannot be told; `error` is why the job rests, waits or failed. */
export function progressFields(report: JobReport) {
  const { job, state, logicalBytes, doneBytes, wireBytes, dedupedBytes, zeroBytes, error } = report
  return {
    job,
    state,
    logicalBytes,
    doneBytes,
    wireBytes,
    dedupedBytes,
    zeroBytes,
    bytesPerSecond: Math.round(report.bytesPerSecond),
    etaSeconds: report.etaSeconds === undefined ? null : Math.ceil(report.etaSeconds),
    error,
  }
}

/** What a `result` line says of a job that is complete. */
export function resultFields(report: JobReport) {
  const {
    job,
    state,
    logicalBytes,
    wireBytes,
    sentBytes,
    dedupedBytes,
    zeroBytes,
    resumedBytes,
    root,
    seconds,
    path,
  } = report
  return {
    job,
    state,
    logicalBytes,
    wireBytes,
    sentBytes,
    dedupedBytes,
    zeroBytes,
    resumedBytes,
    root,
    seconds,
    path,
  }
}

/** What a `job` line says: the fields of `progress`, and what tells the jobs apart. */
export function jobFields(report: JobReport) {
  const {
    direction,
    peer,
    peerName,
    source,
    destination,
    sentBytes,
    resumedBytes,
    seconds,
    lanes,
    path,
    root,
  } = report
  const { createdAt, finishedAt } = report
  return {
    ...progressFields(report),
    direction,
    peer,
    peerName,
    source,
    destination,
    sentBytes,
    resumedBytes,
    seconds,
    lanes,
    path,
    root,
    createdAt,
    finishedAt,
  }
}

/** What an `error` line says. */
export function errorFields({ code, message, hint, retryable, exit }: FluidError) {
  return { code, message, hint, retryable, exit }
}
