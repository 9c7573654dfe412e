/** The lines of --json about relocations: the fields scripts rely on. */
import type { RelocationReport } from '../reports/relocation-reports.ts'

/** What a `relocation` line says. */
export function relocationFields(report: RelocationReport) {
  const { job, state, wanted, service, peer, peerName, live, machines, jobs, detail, round } = report
  const { totalBytes, doneBytes, sentBytes, wireBytes, dirtyBytes, dirtyBytesPerSecond } = report
  return {
    job,
    state,
    wanted,
    service,
    peer,
    peerName,
    live,
    machines,
    jobs,
    detail,
    round,
    totalBytes,
    doneBytes,
    sentBytes,
    wireBytes,
    dirtyBytes,
    dirtyBytesPerSecond: dirtyBytesPerSecond === undefined ? undefined : Math.round(dirtyBytesPerSecond),
    predictedDowntimeSeconds: report.predictedDowntimeSeconds,
    sourceRuns: report.sourceRuns,
    finalizeAt: report.finalizeAt,
    error: report.error,
    createdAt: report.createdAt,
    finishedAt: report.finishedAt,
  }
}

/** What a `result` line says. */
export function relocationResultFields(report: RelocationReport) {
  const { job, state, service, peer, live, round, totalBytes, sentBytes, wireBytes, seconds } = report
  const { downtimeSeconds, pauseToDataSeconds, startToHealthySeconds, timings, roots, changes } = report
  return {
    job,
    state,
    service,
    peer,
    live,
    rounds: round,
    totalBytes,
    sentBytes,
    wireBytes,
    seconds,
    downtimeSeconds,
    pauseToDataSeconds,
    startToHealthySeconds,
    timings,
    roots,
    changes: changes.map(({ machine, path }) => ({ machine, path })),
    sourceRuns: report.sourceRuns,
    finalizeAt: report.finalizeAt,
    error: report.error,
  }
}
