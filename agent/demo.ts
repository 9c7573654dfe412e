/**
 * `demo`: the main job, for real, on this machine. Two agents in processes of their own pair and move a disk; the one
 * that receives is killed halfway, and nothing is lost. What it claims it has checked, or it fails.
 */
import { mkdtemp, readdir, rm, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FluidError } from '../protocol/errors.ts'
import type { JobReport, ReceiptReport } from './reports/job-reports.ts'
import { failureOf } from './commands/follow.ts'
import { startAgentProcess, type AgentProcess } from './demo/agent-process.ts'
import { createDisk, DISK_BYTES, updateDisk } from './demo/disk-image.ts'
import { firstDifference } from './demo/same-bytes.ts'
import { Story } from './demo/story.ts'
import { formatOutcome, type Outcome } from './demo/outcome.ts'
import { initHome } from './home.ts'
import { isFinished } from './output/progress.ts'
import { createStyle, wantsUnicode } from './output/style.ts'
import { formatBytes } from './units.ts'

const NAMES = ['alpine', 'boreal'] as const
const DISK = 'disk.raw'
/** A line between two clouds: 1 Gbit/s. */
const LINE_BYTES_PER_SECOND = 125_000_000
/** Share of the disk that is at the target when it is killed. */
const KILL_AT = 0.5
const TICKET_EXPIRES_MS = 60_000
/** Source, target and the second version beside it. */
const NEEDED_BYTES = 3 * 2 ** 30
const BLOCK_BYTES = 512
/** What a file system may add for its own records. */
const HOLE_TOLERANCE = 0.02

export interface DemoOptions {
  readonly json: boolean
  readonly color: boolean
}

/** Runs the demonstration and cleans up after it; 0 when everything held. Throws what did not, INTERRUPTED on Ctrl-C. */
export async function runDemo({ json, color }: DemoOptions): Promise<number> {
  const style = createStyle({ color, unicode: wantsUnicode(process.env) })
  const interrupt = new AbortController()
  const stop = (): void => {
    interrupt.abort(
      new FluidError('INTERRUPTED', 'The demonstration was interrupted', {
        hint: 'It has cleaned up after itself',
      }),
    )
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  const startedAt = performance.now()
  try {
    using story = new Story({ json, style, stdout: process.stdout, stderr: process.stderr })
    const outcome = await perform(story, interrupt.signal)
    const seconds = (performance.now() - startedAt) / 1000
    story.emit('demo', { ok: true, seconds: Number(seconds.toFixed(1)), ...outcome })
    story.say(formatOutcome(outcome, seconds, style))
    return 0
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
}

/** What the acts share. */
interface Stage {
  readonly story: Story
  readonly source: string
  /** Folder that the receiver opened to the sender. */
  readonly granted: string
  readonly target: string
  readonly sender: AgentProcess
  /** Replaced when it is killed. */
  receiver: AgentProcess
  startReceiver(): Promise<AgentProcess>
}

async function perform(story: Story, signal: AbortSignal): Promise<Outcome> {
  const folder = await makeFolder()
  await using _folder = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
  story.say(`\nTwo agents on this machine, and a disk to move from one to the other.\n\n`)
  const source = join(folder, DISK)
  const { copiedBytes } = await story.step(
    'create-disk',
    'Made a disk',
    () => createDisk(source, signal),
    (disk) => ({
      words: `${formatBytes(DISK_BYTES)}: ${formatBytes(disk.dataBytes)} of data, of it ${formatBytes(disk.copiedBytes)} copies; the rest holes`,
      facts: { logicalBytes: DISK_BYTES, ...disk },
    }),
  )
  await using stage = await startAgents(story, folder, source, signal)
  const granted = stage.granted
  await story.step(
    'pair',
    'Paired them by ticket',
    () => pair(stage),
    () => ({
      words: 'good for one use and one folder, secret proven inside the encrypted channel',
      facts: { granted },
    }),
  )
  const first = await moveThroughAccident(stage, signal)
  await compare(stage, first.report, signal)
  const changedBytes = await story.step(
    'change-disk',
    'Changed the disk',
    () => updateDisk(source, signal),
    (bytes) => ({
      words: `${formatBytes(bytes)}: pages of a database, a file replaced, a log that grew`,
      facts: { changedBytes: bytes },
    }),
  )
  const second = await move(stage, signal)
  story.tell('move-second', 'Moved the second version', toldOf(second), second.seconds * 1000)
  await compare(stage, second, signal)
  await prove(stage, second, signal)
  const receipts = await Promise.all(
    [first.report, second].map(({ job }) => stage.sender.api.receipt({ job })),
  )
  return {
    dataBytes: receipts.map((receipt) => receipt.dataBytes),
    copiedBytes,
    changedBytes,
    first: first.report,
    second,
    killedAtBytes: first.killedAtBytes,
    resumedAfterSeconds: first.resumedAfterSeconds,
  }
}

async function startAgents(
  story: Story,
  folder: string,
  source: string,
  signal: AbortSignal,
): Promise<Stage & AsyncDisposable> {
  await using stack = new AsyncDisposableStack()
  const [senderHome, receiverHome] = NAMES.map((name) => join(folder, name))
  const granted = join(folder, 'disks')
  const stage = await story.step(
    'start-agents',
    'Started two agents',
    async () => {
      await Promise.all([senderHome, receiverHome].map((home, i) => initHome(home, { name: NAMES[i] })))
      const startReceiver = (): Promise<AgentProcess> => startAgentProcess(receiverHome, signal)
      const sender = stack.use(await startAgentProcess(senderHome, signal))
      const receiver = await startReceiver()
      return { story, source, granted, target: join(granted, DISK), sender, receiver, startReceiver }
    },
    ({ sender, receiver }) => ({
      words: `${NAMES[0]} (pid ${sender.pid}) and ${NAMES[1]} (pid ${receiver.pid}), each with its own key and state`,
      facts: { sender: sender.pid, receiver: receiver.pid },
    }),
  )
  stack.defer(() => stage.receiver[Symbol.asyncDispose]())
  const owned = stack.move()
  return Object.assign(stage, { [Symbol.asyncDispose]: () => owned.disposeAsync() })
}

async function pair({ sender, receiver, granted }: Stage): Promise<void> {
  const { ticket } = await receiver.api.pairTicket({
    expiresMs: TICKET_EXPIRES_MS,
    uses: 1,
    folder: granted,
    approve: 'auto',
  })
  await sender.api.pairRedeem({ ticket, name: NAMES[1] })
}

/** Moves the disk to its end; `onProgress` hears how it goes. */
async function move(
  { story, sender, source }: Stage,
  signal: AbortSignal,
  onProgress?: (report: JobReport) => void,
): Promise<JobReport> {
  const replace = onProgress === undefined
  const { job } = await sender.api.move({
    source,
    peer: NAMES[1],
    destination: DISK,
    replace,
    bandwidth: LINE_BYTES_PER_SECOND,
    // On a line like this it pays; left to adapt, a busy machine might decide otherwise and spoil the figures.
    compression: 'on',
  })
  let last: JobReport | undefined
  for await (const report of sender.api.watch({ job }, { signal })) {
    last = report
    onProgress?.(report)
    if (!isFinished(report)) story.progress(report)
  }
  if (last?.state !== 'complete')
    throw last ? failureOf(last) : new FluidError('UNEXPECTED', 'The move told nothing')
  return last
}

interface FirstMove {
  readonly report: JobReport
  readonly killedAtBytes: number
  /** From the moment the receiver was up again to the next byte made durable. */
  readonly resumedAfterSeconds: number
}

async function moveThroughAccident(stage: Stage, signal: AbortSignal): Promise<FirstMove> {
  const trouble = new AbortController()
  let accident: Promise<void> | undefined
  let killedAtBytes = 0
  let upAt: number | undefined
  let resumedAt: number | undefined
  let report: JobReport
  try {
    report = await move(
      stage,
      AbortSignal.any([signal, trouble.signal]),
      ({ state, doneBytes, logicalBytes }) => {
        if (!accident && doneBytes >= logicalBytes * KILL_AT && state === 'running') {
          killedAtBytes = doneBytes
          accident = replaceReceiver(stage, doneBytes).then(() => void (upAt = performance.now()))
          accident.catch((error: unknown) => trouble.abort(error))
        }
        if (upAt !== undefined && doneBytes > killedAtBytes) resumedAt ??= performance.now()
      },
    )
  } finally {
    // Whatever happened, no agent is left between two lives.
    await accident?.catch(() => {})
  }
  if (!accident || upAt === undefined) {
    throw new FluidError('UNEXPECTED', 'The move was over before the receiver could be killed')
  }
  if (report.resumedBytes === 0) {
    throw new FluidError(
      'VERIFY_MISMATCH',
      'Nothing of what the receiver held before it was killed was used again',
    )
  }
  stage.story.tell('move-first', 'Moved the disk', toldOf(report), report.seconds * 1000)
  return { report, killedAtBytes, resumedAfterSeconds: ((resumedAt ?? performance.now()) - upAt) / 1000 }
}

/** Kills the receiver as a power cut would, and starts it again on the same home. */
async function replaceReceiver(stage: Stage, doneBytes: number): Promise<void> {
  const { story } = stage
  const { pid } = stage.receiver
  await stage.receiver.kill()
  story.tell('kill', `Killed ${NAMES[1]}`, {
    words: `SIGKILL to pid ${pid} with ${formatBytes(doneBytes)} of ${formatBytes(DISK_BYTES)} at the target`,
    facts: { pid, doneBytes },
    misfortune: true,
  })
  stage.receiver = await story.step('restart', `Started ${NAMES[1]} again`, stage.startReceiver, (agent) => ({
    words: `pid ${agent.pid}, at another port; nobody told the job to go on`,
    facts: { pid: agent.pid },
  }))
}

/** Bytes, holes, roots and leftovers at the target. */
async function compare(stage: Stage, report: JobReport, signal: AbortSignal): Promise<void> {
  const { story, source, target, granted, receiver } = stage
  await story.step(
    'compare',
    'Compared source and target',
    async () => {
      const difference = await firstDifference(source, target, signal)
      if (difference !== undefined) throw mismatch(`Source and target differ at offset ${difference}`)
      const there = (await receiver.api.jobs()).find(({ job }) => job === report.job)
      if (!report.root || there?.root !== report.root)
        throw mismatch('The two agents do not name the same root')
      const [{ blocks: sourceBlocks }, { blocks: targetBlocks }] = await Promise.all([
        stat(source),
        stat(target),
      ])
      const left = (await readdir(granted)).filter((name) => name !== DISK)
      if (left.length > 0) throw mismatch(`${left.join(', ')} was left at the target`)
      const sourceBytes = sourceBlocks * BLOCK_BYTES
      const targetBytes = targetBlocks * BLOCK_BYTES
      if (targetBytes > sourceBytes * (1 + HOLE_TOLERANCE)) {
        throw mismatch(`The target takes ${targetBytes} bytes of its disk, the source ${sourceBytes}`)
      }
      return { sourceBytes, targetBytes }
    },
    ({ sourceBytes, targetBytes }) => ({
      words: `every byte is the same, and the root; ${formatBytes(targetBytes)} on the disk there, ${formatBytes(sourceBytes)} here`,
      facts: { same: true, root: report.root, sourceBytes, targetBytes },
    }),
  )
}

/** Both agents read their copies again, and both hold the same receipt. */
async function prove(
  { story, sender, receiver }: Stage,
  { job }: JobReport,
  signal: AbortSignal,
): Promise<void> {
  await story.step(
    'verify',
    'Both read their copy again',
    async () => {
      const verdict = await sender.api.verify({ job, deep: true }, { signal })
      if (!verdict.match) throw mismatch(verdict.reasons[0]?.message ?? 'Verification found other roots')
      return verdict
    },
    ({ targetRoot }) => ({ words: `root ${short(targetRoot)} on both sides`, facts: { root: targetRoot } }),
  )
  await story.step(
    'receipt',
    'Both hold the receipt',
    async () => {
      const receipts = await Promise.all([sender.api.receipt({ job }), receiver.api.receipt({ job })])
      if (!receipts.every(({ signaturesValid }) => signaturesValid))
        throw mismatch('A signature of the receipt is not valid')
      if (new Set(receipts.map(signed)).size !== 1) throw mismatch('The receipts of the two agents differ')
      return receipts[0]
    },
    ({ chunks, chunking }) => ({
      words: `signed by both; ${chunks} chunks, ${chunking}`,
      facts: { chunks, chunking },
    }),
  )
}

function signed({ root, senderSignature, receiverSignature }: ReceiptReport): string {
  return [root, senderSignature, receiverSignature].join(' ')
}

function toldOf(report: JobReport): { words: string; facts: object } {
  const { wireBytes, resumedBytes } = report
  const resumed =
    resumedBytes > 0 ? `; ${formatBytes(resumedBytes)} survived the kill and did not travel again` : ''
  return {
    words: `${formatBytes(wireBytes)} on the wire${resumed}`,
    facts: { job: report.job, root: report.root, wireBytes, sentBytes: report.sentBytes, resumedBytes },
  }
}

function short(root: string | undefined): string {
  return `${(root ?? '').slice(0, 15)}…`
}

function mismatch(message: string): FluidError {
  return new FluidError('VERIFY_MISMATCH', message)
}

/** A new folder where there is room. Throws NO_SPACE. */
async function makeFolder(): Promise<string> {
  for (const parent of [tmpdir(), '/dev/shm', '/var/tmp']) {
    const room = await statfs(parent).catch(() => undefined)
    if (room && room.bavail * room.bsize >= NEEDED_BYTES)
      return await mkdtemp(join(parent, 'fluidcloud-demo-'))
  }
  throw new FluidError(
    'NO_SPACE',
    `The demonstration needs ${formatBytes(NEEDED_BYTES)} of free space in ${tmpdir()}`,
    {
      hint: 'Name another folder with TMPDIR',
    },
  )
}
