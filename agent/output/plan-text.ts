/** A plan as a person reads it. */
import type { PlanReport } from '../reports/job-reports.ts'
import { formatBytes } from '../units.ts'
import type { Style } from './style.ts'
import { formatFields } from './table.ts'
import { count, printable } from './text.ts'

/** `plan`: what would happen, and what to beware of, and each reason why not with what to do about it. */
export function formatPlan(plan: PlanReport, style: Style): string {
  const { symbols } = style
  const title = plan.feasible
    ? `${style.green(symbols.ok)} This move can be made; nothing was changed`
    : `${style.red(symbols.fail)} This move cannot be made; nothing was changed`
  const holes = Math.max(0, plan.logicalBytes - plan.allocatedBytes)
  const what = `${formatBytes(plan.logicalBytes)}, ${formatBytes(plan.allocatedBytes)} of it data${holes > 0 ? `, ${formatBytes(holes)} holes` : ''}`
  const fields = formatFields(
    [
      ['source', `${printable(plan.source)} (${plan.sourceFormat})`],
      ['target', `${printable(`${plan.peer}:${plan.destination}`)} (${plan.targetFormat})`],
      ['size', what],
      ['free there', plan.freeBytes === undefined ? undefined : formatBytes(plan.freeBytes)],
      [
        'replaces',
        plan.replacesExisting
          ? style.yellow(`the version that has this name now${plan.inPlace ? ', in place' : ''}`)
          : undefined,
      ],
      ['approval', plan.needsApproval ? style.yellow('the owner of the target is asked first') : undefined],
      [
        'how',
        [
          plan.chunking,
          plan.codecs?.join('/'),
          plan.lanes === undefined ? undefined : count(plan.lanes, 'lane'),
        ]
          .filter(Boolean)
          .join(', ') || undefined,
      ],
    ],
    style,
  )
  const warnings = plan.warnings.map((text) => `  ${style.yellow(symbols.warn)} ${printable(text)}\n`)
  const reasons = plan.reasons.map(
    ({ code, message, hint }) =>
      `\n  ${style.red(symbols.fail)} ${printable(message)} ${style.dim(code)}\n    ${style.dim('hint')}  ${printable(hint)}\n`,
  )
  return `${title}\n${fields}${warnings.join('')}${reasons.join('')}`
}
