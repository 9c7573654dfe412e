/** A change as people see it before it happens: a unified diff without secrets. */
import { structuredPatch } from 'diff'
import { MAX_DIFF_BYTES } from '../../protocol/limits.ts'
import type { FileChange } from '../guest-files.ts'
import { asShownText } from './guest-text.ts'
import { hideSecrets } from './hide-secrets.ts'

/** Longest time for comparing; what differs too much is shown as replaced. */
const COMPARE_MS = 500
/** Lines around what changed. */
const CONTEXT_LINES = 3

/** Lines that begin with ' ', '-' or '+', under the two names; at most MAX_DIFF_BYTES. */
export function showChange(change: FileChange): string {
  const { path, before, after, note, secret } = change
  const [from, to] = [before ? path : '/dev/null', after ? path : '/dev/null']
  const lines = [`--- ${from}`, `+++ ${to}`]
  if (note !== undefined) lines.push(...hideSecrets(note).map((line) => `# ${line}`))
  const [old, now] = [before ?? new Uint8Array(), after ?? new Uint8Array()].map(asShownText)
  if (secret) lines.push(`# Content is secret: ${sizes(change)}`)
  else if (old === undefined || now === undefined) lines.push(`# Content is binary: ${sizes(change)}`)
  else lines.push(...diffLines(old, now))
  return cut(lines)
}

function sizes({ before, after }: FileChange): string {
  const bytes = (content: Uint8Array | undefined) => (content ? `${content.length} bytes` : 'nothing')
  return `${bytes(before)} becomes ${bytes(after)}`
}

function diffLines(old: string, now: string): string[] {
  const patch = structuredPatch('', '', old, now, '', '', { context: CONTEXT_LINES, timeout: COMPARE_MS })
  const [oldShown, nowShown] = [hideSecrets(old), hideSecrets(now)]
  if (!patch) return [`# Too different to compare: ${oldShown.length} lines become ${nowShown.length}`]
  const lines: string[] = []
  for (const { oldStart, oldLines, newStart, newLines, lines: hunk } of patch.hunks) {
    // Of no lines the one before is named.
    const range = (start: number, count: number) => `${count === 0 ? start - 1 : start},${count}`
    lines.push(`@@ -${range(oldStart, oldLines)} +${range(newStart, newLines)} @@`)
    let [oldAt, newAt] = [oldStart - 1, newStart - 1]
    for (const line of hunk) {
      if (line.startsWith('-')) lines.push(`-${oldShown[oldAt++]}`)
      else if (line.startsWith('+')) lines.push(`+${nowShown[newAt++]}`)
      else if (line.startsWith('\\')) lines.push(line)
      else {
        lines.push(` ${nowShown[newAt++]}`)
        oldAt++
      }
    }
  }
  return lines
}

function cut(lines: readonly string[]): string {
  const shown: string[] = []
  let left = MAX_DIFF_BYTES - 100
  for (const line of lines) {
    left -= Buffer.byteLength(line) + 1
    if (left < 0) return [...shown, `# Cut: ${lines.length - shown.length} more lines`, ''].join('\n')
    shown.push(line)
  }
  return [...shown, ''].join('\n')
}
