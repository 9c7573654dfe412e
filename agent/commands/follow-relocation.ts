/** Following a relocation from the terminal: each stage and round, its outcome at the end, and leaving without stopping it. */
import { FluidError } from '../../protocol/errors.ts'
import { PROGRESS_INTERVAL_MS } from '../../protocol/limits.ts'
import type { AgentApi } from '../api.ts'
import type { RelocationReport } from '../reports/relocation-reports.ts'
import { errorFields } from '../output/ndjson.ts'
import { relocationFields, relocationResultFields } from '../output/relocation-fields.ts'
import { formatOutcome } from '../output/relocation-text.ts'
import { RelocationView } from '../output/relocation-view.ts'
import type { Context } from './command.ts'
import { catchInterrupt, INTERRUPTED_EXIT, streamAgain } from './follow.ts'

export interface FollowRelocationOptions {
  /** What counts as success. */
  readonly until: 'live' | 'rolled-back' | 'finalized'
  readonly first?: RelocationReport
}

/** Shows it until it comes to an end, and gives the exit status. Throws its own error when that is another end. */
export async function followRelocation(
  context: Context,
  agent: AgentApi,
  job: string,
  { until, first }: FollowRelocationOptions,
): Promise<number> {
  using interrupt = catchInterrupt(context)
  const { terminal, errorStyle, json, quiet } = context
  const live = Boolean(terminal.stderr.isTTY) && terminal.env.TERM !== 'dumb'
  const view = json || quiet ? undefined : new RelocationView(terminal.stderr, errorStyle, { live })
  const isNews = createNews()
  let last = first
  const show = (report: RelocationReport) => {
    last = report
    if (!isNews(report)) return
    context.emit('relocation', relocationFields(report))
    view?.update(report)
  }
  try {
    if (first) show(first)
    const reports = streamAgain(context, agent, interrupt.signal, {
      open: (client, signal) => client.relocationWatch({ job }, { signal }),
      isOver: isSettled,
      ask: async (client) => (await client.relocations()).find((each) => each.job === (last?.job ?? job)),
    })
    for await (const report of reports) show(report)
  } catch (error) {
    if (!interrupt.signal.aborted) throw error
    view?.clear()
    return leave(context, last?.job ?? job)
  } finally {
    view?.clear()
  }
  if (!last) throw new FluidError('JOB_UNKNOWN', `There is no relocation ${job}`)
  return end(context, last, until)
}

/** Shows all that are under way, a line at each stage and round, until none is; `before` makes room on the terminal. */
export async function followRelocations(
  context: Context,
  agent: AgentApi,
  signal: AbortSignal,
  before: () => void,
): Promise<void> {
  const { terminal, errorStyle, json, quiet } = context
  const views = new Map<string, { view: RelocationView; isNews: News; result?: string }>()
  const reports = streamAgain(context, agent, signal, {
    open: (client) => client.relocationWatch({}, { signal }),
    isOver: () => true,
    ask: async () => undefined,
  })
  for await (const report of reports) {
    const shown = views.get(report.job) ?? {
      view: new RelocationView(terminal.stderr, errorStyle, { live: false }),
      isNews: createNews(),
    }
    views.set(report.job, shown)
    if (shown.isNews(report)) {
      context.emit('relocation', relocationFields(report))
      before()
      if (!json && !quiet) shown.view.update(report)
    }
    if (!isSettled(report) || shown.result === report.state) continue
    shown.result = report.state
    context.report('result', relocationResultFields(report), (style) => formatOutcome(report, style))
  }
}

type News = (report: RelocationReport) => boolean

/** Tells of one relocation's reports, in order, which to show: a new stage or round, and else one in PROGRESS_INTERVAL_MS. */
function createNews(): News {
  let shown = { key: '', at: -Infinity }
  return ({ state, round, detail = '' }) => {
    const key = `${state} ${round} ${detail}`
    const at = performance.now()
    if (key === shown.key && at - shown.at < PROGRESS_INTERVAL_MS) return false
    shown = { key, at }
    return true
  }
}

/** Waiting longer shows nothing new. */
function isSettled({ state, wanted }: RelocationReport): boolean {
  if (state === 'live') return wanted === 'run'
  return ['finalized', 'rolled-back', 'failed', 'paused'].includes(state)
}

function end(context: Context, report: RelocationReport, until: FollowRelocationOptions['until']): number {
  const { state, error, job } = report
  context.report('result', relocationResultFields(report), (style) => formatOutcome(report, style))
  if (state === until || (until === 'live' && state === 'finalized')) return 0
  if (state === 'rolled-back' && until === 'finalized' && !error) return 0
  if (!error) throw new FluidError('JOB_STATE', `Relocation ${job} is ${state}`)
  throw new FluidError(error.code, error.message, { hint: error.hint, job })
}

function leave(context: Context, job: string): number {
  const hint = `Follow it again with fluidcloud watch ${job}`
  const message = `Left relocation ${job}, which goes on`
  context.emit('error', errorFields(new FluidError('INTERRUPTED', message, { hint })))
  context.note(`\n${message}. ${hint}, take it back with fluidcloud rollback ${job}`)
  return INTERRUPTED_EXIT
}
