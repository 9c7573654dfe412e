/** Following jobs from the terminal: progress while they run, their outcome at the end, and leaving without stopping them. */
import { setTimeout as sleep } from 'node:timers/promises'
import { FluidError } from '../../protocol/errors.ts'
import { FOLLOW_RECONNECT_MS, PROGRESS_INTERVAL_MS } from '../../protocol/limits.ts'
import type { AgentApi } from '../api.ts'
import type { JobReport } from '../reports/job-reports.ts'
import type { AgentClient } from '../control/client.ts'
import { formatSummary } from '../output/job-text.ts'
import { errorFields, progressFields, resultFields } from '../output/ndjson.ts'
import { ProgressView, isFinished } from '../output/progress.ts'
import { ProgressPace } from '../output/progress-pace.ts'
import { printable } from '../output/text.ts'
import type { Context } from './command.ts'

const RECONNECT_INTERVAL_MS = 250
export const INTERRUPTED_EXIT = 130
const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/**
 * Shows a job until it ends and gives the exit status: 0 when complete, 130 when the person left. Throws the job's own
 * error when it failed, was cancelled, or stopped for something a person must put right.
 */
export async function followJob(
  context: Context,
  agent: AgentApi,
  job: string,
  first?: JobReport,
): Promise<number> {
  using interrupt = catchInterrupt(context)
  const shown = new ProgressOutput(context)
  let last = first
  try {
    if (first) shown.show(first)
    if (!first || !isSettled(first)) {
      for await (const report of watchAgain(context, agent, job, interrupt.signal)) {
        last = report
        shown.show(report)
        if (isSettled(report)) break
      }
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error
    return leave(context, shown, last?.job ?? job)
  } finally {
    shown.clear()
  }
  if (last === undefined) throw new FluidError('JOB_UNKNOWN', `There is no job ${job}`)
  if (last.state !== 'complete') throw failureOf(last)
  reportResult(context, last)
  return 0
}

/** True when waiting longer shows nothing new: the job ended, or stopped for something a person must put right. */
function isSettled(report: JobReport): boolean {
  return isFinished(report) || (report.state === 'paused' && report.error !== undefined)
}

/** Why a settled job is not complete. */
export function failureOf({ job, state, error }: JobReport): FluidError {
  if (state === 'cancelled') return new FluidError('CANCELLED', `Job ${job} was cancelled`)
  if (!error) return new FluidError('UNEXPECTED', `Job ${job} ended as ${state} without a reason`)
  const hint = state === 'paused' ? `${error.hint}. Then: fluidcloud resume ${job}` : error.hint
  return new FluidError(error.code, error.message, { hint, job })
}

export function reportResult(context: Context, report: JobReport): void {
  context.report('result', resultFields(report), (style) => formatSummary(report, style))
}

export function leave(context: Context, shown: ProgressOutput, job?: string): number {
  shown.clear()
  const again = `fluidcloud watch${job ? ` ${job}` : ''}`
  const message = job ? `Left job ${job}, which goes on` : 'Left the jobs, which go on'
  context.emit(
    'error',
    errorFields(new FluidError('INTERRUPTED', message, { hint: `Follow it again with ${again}` })),
  )
  context.note(
    `\n${message}. Follow it again with ${again}${job ? `, stop it with fluidcloud cancel ${job}` : ''}`,
  )
  return INTERRUPTED_EXIT
}

/** Aborts at the first SIGINT or SIGTERM; the second leaves at once. While it is held, whatever ends the program exits 130. */
export function catchInterrupt({ terminal, runtime }: Context): { signal: AbortSignal } & Disposable {
  const controller = new AbortController()
  const before = runtime.exit
  runtime.exit = INTERRUPTED_EXIT
  const onInterrupt = (): void => {
    if (controller.signal.aborted) terminal.exit(INTERRUPTED_EXIT)
    controller.abort(new FluidError('INTERRUPTED', 'Interrupted'))
  }
  for (const signal of SIGNALS) terminal.signals.on(signal, onInterrupt)
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const signal of SIGNALS) terminal.signals.off(signal, onInterrupt)
      runtime.exit = before
    },
  }
}

/** Reports of one job, or of all; goes on across a restart of the agent, for FOLLOW_RECONNECT_MS. */
export function watchAgain(
  context: Context,
  agent: AgentApi,
  job: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<JobReport> {
  return streamAgain(context, agent, signal, {
    open: (client) => client.watch({ job }, { signal }),
    isOver: (last) => job === undefined || (last !== undefined && isFinished(last)),
    ask: async (client) => (await client.jobs()).find((each) => each.job === job),
  })
}

/** What is streamed of something, and how it is known to be at its end. */
export interface Streamed<T> {
  open(client: AgentApi, signal: AbortSignal): AsyncIterable<T>
  /** True when a stream that ended behind `last` has said all. */
  isOver(last: T | undefined): boolean
  ask(client: AgentApi): Promise<T | undefined>
}

/** A stream of the agent that goes on across its restart, for FOLLOW_RECONNECT_MS. */
export async function* streamAgain<T>(
  context: Context,
  agent: AgentApi,
  signal: AbortSignal,
  { open, isOver, ask }: Streamed<T>,
): AsyncGenerator<T> {
  let client = agent
  let own: AgentClient | undefined
  try {
    for (;;) {
      let last: T | undefined
      try {
        for await (const report of open(client, signal)) yield (last = report)
        if (isOver(last)) return
        // An agent that shuts down ends its streams first.
        last = await ask(client)
        if (last) yield last
        await sleep(RECONNECT_INTERVAL_MS, undefined, { signal })
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof FluidError) || error.code !== 'AGENT_NOT_RUNNING') throw error
        context.note('The agent went away; waiting for it to come back')
        await own?.[Symbol.asyncDispose]()
        client = own = await reconnect(context, error, signal)
      }
    }
  } finally {
    await own?.[Symbol.asyncDispose]()
  }
}

async function reconnect(context: Context, lost: FluidError, signal: AbortSignal): Promise<AgentClient> {
  const deadline = performance.now() + FOLLOW_RECONNECT_MS
  while (performance.now() < deadline) {
    await sleep(RECONNECT_INTERVAL_MS, undefined, { signal })
    try {
      return await context.connect()
    } catch (error) {
      if (!(error instanceof FluidError) || error.code !== 'AGENT_NOT_RUNNING') throw error
    }
  }
  throw new FluidError('AGENT_NOT_RUNNING', 'The agent went away while the job was followed', {
    cause: lost,
    hint: 'Start it again with fluidcloud agent; the job goes on by itself',
  })
}

/** Progress as lines (progress-pace.ts) or as a live view: at most five a second of each job, and every change of state. */
export class ProgressOutput {
  readonly #context: Context
  readonly #view: ProgressView | undefined
  readonly #pace = new ProgressPace()
  readonly #shown = new Map<string, { state: string; at: number }>()

  constructor(context: Context) {
    this.#context = context
    const { terminal, errorStyle, json, quiet } = context
    if (json || quiet) return
    const live = Boolean(terminal.stderr.isTTY) && terminal.env.TERM !== 'dumb'
    this.#view = new ProgressView(terminal.stderr, errorStyle, { live })
  }

  show(report: JobReport): void {
    const at = performance.now()
    if (this.#pace.admits(report, at)) this.#context.emit('progress', progressFields(report))
    const last = this.#shown.get(report.job)
    if (last?.state === report.state && (isFinished(report) || at - last.at < PROGRESS_INTERVAL_MS)) return
    this.#shown.set(report.job, { state: report.state, at })
    if (last?.state !== 'reconnecting' && report.state === 'reconnecting') this.#sayWhy(report)
    this.#view?.update(report)
  }

  clear(): void {
    this.#view?.clear()
  }

  /** Nothing ends this wait but the peer, or the person. */
  #sayWhy({ job, peerName, error, direction }: JobReport): void {
    if (!error || direction === 'in') return
    this.#view?.clear()
    this.#context.note(
      `${printable(error.message)}. The job waits for ${printable(peerName)} and goes on by itself; Ctrl-C leaves it so, fluidcloud cancel ${job} ends it`,
    )
  }
}
