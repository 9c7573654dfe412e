/** An error as a person reads it: what failed, its code, why, and what to do. */
import type { FluidError } from '../../protocol/errors.ts'
import type { Style } from './style.ts'
import { printable } from './text.ts'

const MAX_CAUSES = 5

/** `error: …` and indented lines below it; with `verbose` the stack of what is not ours too. Ends with a newline. */
export function formatError(error: FluidError, style: Style, { verbose = false } = {}): string {
  const lines = [`${style.red(style.bold('error:'))} ${printable(error.message)}`]
  const add = (label: string, text: string): void => {
    lines.push(`  ${style.dim(label.padEnd(5))} ${text}`)
  }
  add('code', style.yellow(error.code))
  for (const cause of causes(error)) add('cause', printable(cause))
  if (error.details.offset !== undefined) add('at', `byte ${error.details.offset} of the volume`)
  if (error.hint) add('hint', printable(error.hint))
  if (verbose && error.stack) lines.push(style.dim(stack(error)))
  return `${lines.join('\n')}\n`
}

/** Messages of the causes, outermost first, each once. */
function causes(error: Error): string[] {
  const seen = [error.message]
  let cause = error.cause
  while (cause instanceof Error && seen.length <= MAX_CAUSES) {
    if (!seen.includes(cause.message) && cause.message !== '') seen.push(cause.message)
    cause = cause.cause
  }
  return seen.slice(1)
}

function stack(error: Error): string {
  let innermost = error
  while (innermost.cause instanceof Error) innermost = innermost.cause
  return (innermost.stack ?? '')
    .split('\n')
    .map((line) => `  ${printable(line).trim()}`)
    .join('\n')
}
