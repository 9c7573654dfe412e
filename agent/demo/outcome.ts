/** The end of the demonstration: what was shown, in figures. */
import type { JobReport } from '../reports/job-reports.ts'
import { formatShares } from '../output/job-text.ts'
import type { Style } from '../output/style.ts'
import { formatTable } from '../output/table.ts'
import { formatBytes, formatDuration } from '../units.ts'

/** What was measured. Bytes. */
export interface Outcome {
  /** Of the disk when it moved first, and of its second version. */
  readonly dataBytes: readonly number[]
  readonly copiedBytes: number
  readonly changedBytes: number
  readonly first: JobReport
  readonly second: JobReport
  readonly killedAtBytes: number
  readonly resumedAfterSeconds: number
}

/** The summary a person reads. */
export function formatOutcome(outcome: Outcome, seconds: number, style: Style): string {
  const { first, second, changedBytes } = outcome
  const [firstData, secondData] = outcome.dataBytes
  const { bold, green, cyan, dim, symbols } = style
  const table = formatTable(
    [{ title: '' }, { title: 'first move', align: 'right' }, { title: 'second version', align: 'right' }],
    [
      ['the disk', formatBytes(first.logicalBytes), formatBytes(second.logicalBytes)],
      ['of it data', formatBytes(firstData), formatBytes(secondData)],
      ['changed since', '', formatBytes(changedBytes)],
      ['the target held already', formatBytes(first.dedupedBytes), formatBytes(second.dedupedBytes)],
      ['sent, before compression', formatBytes(first.sentBytes), formatBytes(second.sentBytes)],
      [
        { text: 'on the wire', paint: bold },
        { text: formatBytes(first.wireBytes), paint: bold },
        { text: formatBytes(second.wireBytes), paint: bold },
      ],
      [
        'handled twice, after the kill',
        formatBytes(twice(first, firstData)),
        formatBytes(twice(second, secondData)),
      ],
      ['less than the data by', times(firstData, first.wireBytes), times(secondData, second.wireBytes)],
      ['time', formatDuration(first.seconds * 1000), formatDuration(second.seconds * 1000)],
    ],
    { style },
  )
  const lines = [
    `The receiver died with ${formatBytes(outcome.killedAtBytes)} of the disk in its hands. Up again, it had the next bytes after ${formatDuration(outcome.resumedAfterSeconds * 1000)};`,
    `${formatBytes(first.resumedBytes)} of data it had acknowledged neither travelled nor was read again. Nobody typed a command.`,
  ]
  return `
${bold('What happened')}

${indent(table)}
  ${dim('first ')}  ${shares(first, firstData, style)}
  ${dim('second')}  ${shares(second, secondData, style)}

${indent(`${lines.join('\n')}\n`)}
${green(symbols.ok)} ${bold('All of it held')}, in ${formatDuration(seconds * 1000)}. Nothing stays behind on this machine.

Your own disk, between two machines:

  there  ${cyan('fluidcloud init && fluidcloud agent')}   and in another terminal   ${cyan('fluidcloud pair ticket')}
  here   ${cyan('fluidcloud init && fluidcloud agent')}   and in another terminal   ${cyan('fluidcloud pair TICKET --as there')}
         ${cyan('fluidcloud move disk.qcow2 there:disk.raw')}

`
}

/** The job counts holes that it met in both attempts twice; the receipt tells how many there are. */
function shares(report: JobReport, dataBytes: number, style: Style): string {
  return formatShares({ ...report, zeroBytes: report.logicalBytes - dataBytes }, style)
}

/** What was under way when the receiver died. */
function twice({ sentBytes, dedupedBytes }: JobReport, dataBytes: number): number {
  return Math.max(0, sentBytes + dedupedBytes - dataBytes)
}

function times(bytes: number, fewer: number): string {
  const factor = bytes / Math.max(1, fewer)
  return `${factor < 10 ? factor.toFixed(1) : Math.round(factor)} times`
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ')
}
