/** Jobs as a person reads them: the table, the summary at the end, the receipt, the verdict of a verification. */
import type { JobReport, ReceiptReport, VerifyReport } from '../reports/job-reports.ts'
import { formatBytes, formatDuration, formatRate } from '../units.ts'
import { doneShare, isFinished } from './progress.ts'
import type { Style } from './style.ts'
import { formatFields, formatTable } from './table.ts'
import { count, printable } from './text.ts'

const SHARE_COLUMNS = 40

/** `jobs`: one row a job. */
export function formatJobs(jobs: readonly JobReport[], style: Style, columns?: number): string {
  if (jobs.length === 0) return `${style.dim('No jobs')}\n`
  const { symbols } = style
  return formatTable(
    [
      { title: 'JOB' },
      { title: 'STATE' },
      { title: 'DONE', align: 'right' },
      { title: 'SIZE', align: 'right' },
      { title: 'RATE', align: 'right' },
      { title: 'ETA', align: 'right' },
      { title: 'WHAT', flexible: true },
    ],
    jobs.map((job) => [
      { text: job.job, paint: style.bold },
      { text: job.state, paint: statePaint(job, style) },
      `${Math.floor(doneShare(job) * 100)}%`,
      formatBytes(job.logicalBytes),
      isFinished(job) ? '' : formatRate(job.bytesPerSecond),
      job.etaSeconds === undefined || isFinished(job) ? '' : formatDuration(job.etaSeconds * 1000),
      job.direction === 'out'
        ? `${job.source} ${symbols.arrow} ${job.peerName}:${job.destination}`
        : `${job.destination} ${symbols.back} ${job.peerName}`,
    ]),
    { style, columns },
  )
}

/** The colour of a job's state. */
export function statePaint({ state }: Pick<JobReport, 'state'>, style: Style): (text: string) => string {
  if (state === 'complete') return style.green
  if (state === 'failed' || state === 'cancelled') return style.red
  return state === 'running' || state === 'verifying' ? style.cyan : style.yellow
}

/** The end of a move that succeeded. */
export function formatSummary(job: JobReport, style: Style): string {
  const { symbols } = style
  const where = job.direction === 'out' ? `${job.peerName}:${job.destination}` : job.destination
  const seconds = Math.max(job.seconds, 0.001)
  const title = `${style.green(symbols.ok)} ${style.bold(printable(where))} is complete and verified`
  const fields = formatFields(
    [
      [
        'moved',
        `${formatBytes(job.logicalBytes)} in ${formatDuration(job.seconds * 1000)} (${formatRate(job.logicalBytes / seconds)})`,
      ],
      ['wire', `${formatBytes(job.wireBytes)}${lessOf(job)}`],
      ['shares', formatShares(job, style)],
      ['resumed', job.resumedBytes > 0 ? `${formatBytes(job.resumedBytes)} were durable already` : undefined],
      ['root', job.root],
      ['path', job.path && (job.lanes > 0 ? `${job.path}, ${count(job.lanes, 'lane')}` : job.path)],
      ['why not better', job.pathReason && printable(job.pathReason)],
      ['receipt', `fluidcloud receipt ${job.job}`],
    ],
    style,
  )
  return `${title}\n${fields}`
}

function lessOf({ logicalBytes, wireBytes }: JobReport): string {
  const factor = logicalBytes / wireBytes
  return wireBytes > 0 && factor >= 1.05
    ? `, ${factor < 10 ? factor.toFixed(1) : Math.round(factor)} times less`
    : ''
}

/** A bar of where the volume's bytes came from: the wire, compression, dedupe, zeros; with its legend. */
export function formatShares(job: JobReport, style: Style): string {
  const compressedBytes = Math.max(0, job.sentBytes - job.wireBytes)
  const parts = [
    { name: 'wire', bytes: Math.min(job.wireBytes, job.sentBytes), paint: style.cyan },
    { name: 'compression', bytes: compressedBytes, paint: style.blue },
    { name: 'dedupe', bytes: job.dedupedBytes, paint: style.green },
    { name: 'zeros', bytes: job.zeroBytes, paint: style.dim },
  ]
  const total = parts.reduce((sum, { bytes }) => sum + bytes, 0)
  if (total === 0) return style.dim('nothing to move')
  let drawn = ''
  let sumBytes = 0
  let used = 0
  for (const [index, { bytes, paint }] of parts.entries()) {
    sumBytes += bytes
    // Cut the running sum, not each part: the parts then always fill the bar.
    const end = Math.round((sumBytes / total) * SHARE_COLUMNS)
    drawn += paint(style.symbols.shades[index].repeat(end - used))
    used = end
  }
  const legend = parts
    .filter(({ bytes }) => bytes > 0)
    .map(({ name, bytes, paint }) => paint(`${name} ${percent(bytes / total)}`))
    .join(` ${style.symbols.dot} `)
  return `${drawn}  ${legend}`
}

function percent(share: number): string {
  return share > 0 && share < 0.01 ? '<1%' : `${Math.round(share * 100)}%`
}

/** `receipt JOB`. */
export function formatReceipt(receipt: ReceiptReport, style: Style): string {
  const { symbols } = style
  const paths = Object.entries(receipt.bytesByPath).map(([path, bytes]) => `${path} ${formatBytes(bytes)}`)
  const signatures = receipt.signaturesValid
    ? style.green(`${symbols.ok} both valid`)
    : style.red(`${symbols.fail} at least one is not valid`)
  const title = `${style.bold('Receipt')} ${receipt.job}\n`
  return (
    title +
    formatFields(
      [
        ['destination', printable(receipt.destination)],
        ['sender', receipt.sender],
        ['receiver', receipt.receiver],
        ['started', receipt.startedAt],
        ['finished', receipt.finishedAt],
        ['size', `${formatBytes(receipt.logicalBytes)} (${receipt.logicalBytes} bytes)`],
        [
          'data',
          `${formatBytes(receipt.dataBytes)} in ${receipt.chunks} chunks, ${printable(receipt.chunking)}`,
        ],
        ['zeros', formatBytes(receipt.zeroBytes)],
        ['sent', formatBytes(receipt.sentBytes)],
        ['deduped', formatBytes(receipt.dedupedBytes)],
        ['resumed', formatBytes(receipt.resumedBytes)],
        [
          'wire',
          `${formatBytes(receipt.wireBytes)}${paths.length > 0 ? ` (${printable(paths.join(', '))})` : ''}`,
        ],
        ['why not better', receipt.pathReason && printable(receipt.pathReason)],
        ['root', printable(receipt.root)],
        [
          're-read',
          receipt.verifiedDeep ? 'yes, from the disk of the target' : 'no: each chunk was checked on arrival',
        ],
        ['signatures', signatures],
      ],
      style,
    )
  )
}

/** `pause JOB`, `resume JOB`, `cancel JOB`: what became of it, or what it waits for. */
export function formatControlled(
  verb: 'pause' | 'resume' | 'cancel',
  report: JobReport,
  style: Style,
): string {
  const { symbols } = style
  const job = style.bold(report.job)
  const state = statePaint(report, style)(report.state)
  const done = { pause: 'paused', cancel: 'cancelled', resume: undefined }[verb]
  if (done !== undefined && report.state !== done && !isFinished(report))
    return `${style.yellow(symbols.warn)} Job ${job} is to be ${done} once its peer can be told; until then it is ${state}\n`
  if (verb === 'resume' && report.state === 'awaiting-approval' && report.direction === 'out')
    return `${style.yellow(symbols.warn)} Job ${job} waits for the owner of the target, who approves it there with fluidcloud resume ${report.job}\n`
  if (verb === 'cancel' && report.state === 'failed')
    return `${style.green(symbols.ok)} Job ${job} had ${state}; ${printable(report.peerName)} keeps nothing of it once it is told\n`
  if (verb === 'resume' && report.state === 'paused')
    return `${style.yellow(symbols.warn)} Job ${job} goes on once it is resumed at ${printable(report.peerName)} too: fluidcloud resume ${report.job} there\n`
  return `${style.green(symbols.ok)} Job ${job} is ${state}\n`
}

/** `verify JOB`. */
export function formatVerdict(report: VerifyReport, style: Style): string {
  const { symbols } = style
  const title = report.match
    ? `${style.green(symbols.ok)} Source and target are the same`
    : `${style.red(symbols.fail)} ${report.sourceRoot && report.targetRoot ? 'Source and target differ' : 'Not verified'}`
  const reasons = report.reasons.map(
    (reason) => ['why', `${printable(reason.message)} (${reason.code})`] as const,
  )
  return `${title}\n${formatFields(
    [
      ['checked', `${formatBytes(report.checkedBytes)} in ${formatDuration(report.seconds * 1000)}`],
      ['re-read', report.deep ? 'yes, both disks' : 'yes, from memory where it still lay there'],
      ['source', report.sourceRoot],
      ['target', report.targetRoot],
      ...reasons,
    ],
    style,
  )}`
}
