/** The plan of a relocation, drawn: machines, their disks and what they lead to; what moves, what stays, what is changed. */
import type { PlannedMachineReport, RelocationPlanReport } from '../reports/relocation-reports.ts'
import { formatBytes, formatDuration } from '../units.ts'
import { formatMatch } from './match-text.ts'
import type { Style } from './style.ts'
import { formatFields } from './table.ts'
import { count, printable } from './text.ts'

/** A line of a tree, and what hangs on it. */
interface Branch {
  readonly text: string
  readonly below?: readonly Branch[]
}

/** References of one machine that are drawn; of more only the number. */
const MAX_DRAWN = 24

export function formatRelocationPlan(plan: RelocationPlanReport, style: Style, columns?: number): string {
  const { symbols } = style
  const to = plan.peerName === undefined ? '' : ` to ${printable(plan.peerName)}`
  const title = plan.feasible
    ? `${style.green(symbols.ok)} ${style.bold(printable(plan.service))} can be relocated${to}; nothing was changed`
    : `${style.red(symbols.fail)} ${style.bold(printable(plan.service))} cannot be relocated${to}; nothing was changed`
  const tree = drawTree(
    [...plan.machines.map((machine) => machineBranch(machine, style)), ...storeBranches(plan, style)],
    style,
  )
  const { predicted, totalBytes } = plan
  const rate = predicted.measured ? '' : ' (the rate is assumed, not measured)'
  const fields = formatFields(
    [
      ['chosen', chosenOf(plan)],
      [
        'how',
        plan.live ? 'live: the machines run until the last round' : 'cold: the machines are shut down first',
      ],
      ['data', formatBytes(totalBytes)],
      ['takes', `about ${formatDuration(predicted.moveSeconds * 1000)}${rate}`],
      ['downtime', `about ${formatDuration(predicted.downtimeSeconds * 1000)}, and the time to start`],
    ],
    style,
  )
  const changes = plan.machines.flatMap(({ name, changes: files }) =>
    files.map(({ path, diff }) => `\n${style.bold(printable(`${name}:${path}`))}\n${drawDiff(diff, style)}`),
  )
  const warnings = plan.warnings.map((text) => `  ${style.yellow(symbols.warn)} ${printable(text)}\n`)
  const reasons = plan.reasons.map(
    ({ code, message, hint }) =>
      `\n  ${style.red(symbols.fail)} ${printable(message)} ${style.dim(code)}\n    ${style.dim('hint')}  ${printable(hint)}\n`,
  )
  const places = plan.match === undefined ? '' : `\n${formatMatch(plan.match, style, columns)}`
  return [title, '\n', tree, fields, places, ...warnings, ...changes, ...reasons].join('')
}

/** Which of the offers that fit the target is. */
function chosenOf({ match, peer }: RelocationPlanReport): string | undefined {
  const chosen = match?.candidates.find((candidate) => candidate.rank !== null && candidate.peer === peer)
  if (!match || !chosen) return undefined
  return `${printable(chosen.provider)}, number ${chosen.rank} of ${count(match.fitting, 'offer')} that ${match.fitting === 1 ? 'fits' : 'fit'}`
}

function machineBranch(machine: PlannedMachineReport, style: Style): Branch {
  const { symbols } = style
  const renamed = machine.targetName === machine.name ? '' : ` ${symbols.arrow} ${machine.targetName}`
  const facts = [
    `${machine.cloud}, ${machine.state}`,
    count(machine.vcpus, 'processor'),
    formatBytes(machine.memoryBytes),
    machine.os,
  ]
  const references = machine.references.slice(0, MAX_DRAWN)
  return {
    text: `${style.bold(printable(machine.name + renamed))}  ${style.dim(printable(facts.filter(Boolean).join(', ')))}`,
    below: [
      ...machine.disks.map(({ disk, role, sizeBytes, allocatedBytes, format, moves }) => ({
        text: `${role === 'boot' ? 'disk' : 'volume'} ${disk}  ${formatBytes(sizeBytes)} ${format}, ${formatBytes(allocatedBytes)} of it data  ${fate(moves ? 'moves' : 'stays', style)}`,
      })),
      ...(machine.networks.length > 0 ? [{ text: `network ${printable(machine.networks.join(', '))}` }] : []),
      ...(machine.listens.length > 0 ? [{ text: `listens ${printable(machine.listens.join(', '))}` }] : []),
      ...machine.needs.map((need) => ({ text: `needs ${printable(need)}  ${fate('moves', style)}` })),
      ...references.map(({ kind, to, path, fate: what }) => ({
        text: `${kind} ${printable(to)}  ${style.dim(printable(path))}  ${fate(what, style)}`,
      })),
      ...(machine.references.length > MAX_DRAWN
        ? [{ text: style.dim(`and ${machine.references.length - MAX_DRAWN} more`) }]
        : []),
      ...machine.steps.map(({ migrator, version }) => ({ text: `${printable(migrator)} ${version}` })),
    ],
  }
}

function storeBranches({ objectStores }: RelocationPlanReport, style: Style): Branch[] {
  return objectStores.map(({ name, endpoint, buckets, usedBy }) => ({
    text: `${style.bold(printable(name))}  ${style.dim(printable([endpoint, ...buckets].join(', ')))}  ${fate('stays', style)}`,
    below: usedBy.map((machine) => ({ text: `used by ${printable(machine)}` })),
  }))
}

function fate(what: 'moves' | 'stays' | 'rewritten' | 'unknown', style: Style): string {
  const { symbols } = style
  switch (what) {
    case 'moves':
      return style.cyan(`${symbols.arrow} moves`)
    case 'stays':
      return style.green(`${symbols.idle} stays`)
    case 'rewritten':
      return style.yellow('rewritten')
    case 'unknown':
      return style.yellow(`${symbols.warn} stays as it is written`)
  }
}

/** Lines with the branches of a tree before them. */
export function drawTree(branches: readonly Branch[], style: Style, indent = '  '): string {
  const [tee, corner, line] = style.unicode ? ['├─ ', '└─ ', '│  '] : ['|- ', '`- ', '|  ']
  return branches
    .map(({ text, below = [] }, i) => {
      const last = i === branches.length - 1
      const own = `${indent}${style.dim(last ? corner : tee)}${text}\n`
      return own + drawTree(below, style, indent + (last ? '   ' : style.dim(line)))
    })
    .join('')
}

function drawDiff(diff: string, style: Style): string {
  return diff
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const shown = printable(line)
      const paint = line.startsWith('+') ? style.green : line.startsWith('-') ? style.red : style.dim
      return `  ${paint(shown)}\n`
    })
    .join('')
}
