/**
 * Shell examples of a document: fenced blocks marked `sh test`, each followed by a block with all it prints. One bash
 * runs them in order, so that a later one may use what an earlier one made.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { delimiter } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { hasProgram } from '../helpers/programs.ts'

const LAUNCHER_FOLDER = fileURLToPath(new URL('../../bin', import.meta.url))
/** Printed behind each example; no program prints it. */
const MARK = '\u0001'

/** One block of commands, and the lines that the document says they print. */
export interface ShellExample {
  readonly commands: string
  readonly output: readonly string[]
}

/** The examples of a document, in order. */
export function shellExamples(markdown: string): ShellExample[] {
  const blocks = markdown.matchAll(/^~~~sh test\n([^]*?)^~~~\n(?:\n~~~text\n([^]*?)^~~~\n)?/gm)
  return [...blocks].map(([, commands, output = '']) => ({ commands, output: lines(output) }))
}

/** Runs the examples in `folder` and returns what each printed on both outputs; what they leave running ends with the test. */
export async function runExamples(
  t: ExecutionContext,
  examples: readonly ShellExample[],
  folder: string,
): Promise<string[][]> {
  const script = ['exec 2>&1', ...examples.map(({ commands }) => `${commands}printf '${MARK}'`)].join('\n')
  const { NO_COLOR: _, ...env } = process.env
  const command = ['bash', '-euo', 'pipefail', '-c', script]
  // ava ends a file that hangs with a signal, and then no teardown runs: a loop that waits is not to go on.
  if (hasProgram('setpriv')) command.unshift('setpriv', '--pdeathsig', 'KILL')
  const shell = spawn(command[0], command.slice(1), {
    cwd: folder,
    env: {
      ...env,
      NO_COLOR: '1',
      LC_ALL: 'C.UTF-8',
      PATH: `${LAUNCHER_FOLDER}${delimiter}${process.env.PATH}`,
    },
    stdio: ['ignore', 'pipe', 'ignore'],
    // A group of its own, which can be ended whole.
    detached: true,
  })
  t.teardown(() => {
    try {
      process.kill(-shell.pid!, 'SIGKILL')
    } catch {
      // Nothing of it runs any more.
    }
  })
  let text = ''
  shell.stdout.setEncoding('utf8').on('data', (part: string) => (text += part))
  const [status] = (await once(shell, 'close')) as [number | null]
  t.is(status, 0, `An example failed; it had printed:\n${text.slice(-2000)}`)
  return text.split(MARK).slice(0, -1).map(lines)
}

/**
 * What a line of output must look like to be what the document says: the same words, with numbers, times, identities,
 * ids and digests of its own. A bar, and what follows it, is different every time.
 */
export function patternOf(line: string): RegExp {
  const variable =
    /b3:[0-9a-f]{64}|12D3KooW\w+|\b[0-9a-f]{32}\b|\b(?=\d*[a-f])[0-9a-f]{8}\b|\d{4}-\d\d-\d\dT[\d:.]+Z|<?\d[\d.,]*(?: (?:[KMGT]iB|B|ms|s|min|h|lanes?)\b)?|[█▓▒░]+.*|\s+/g
  let pattern = ''
  let at = 0
  for (const { 0: found, index } of line.matchAll(variable)) {
    pattern += escaped(line.slice(at, index)) + classOf(found)
    at = index + found.length
  }
  return new RegExp(`^${pattern}${escaped(line.slice(at))}$`)
}

function classOf(text: string): string {
  if (text.startsWith('b3:')) return 'b3:[0-9a-f]{64}'
  if (text.startsWith('12D3KooW')) return '12D3KooW\\w{44}'
  if (/^[0-9a-f]{32}$/.test(text)) return '[0-9a-f]{32}'
  if (/^(?=\d*[a-f])[0-9a-f]{8}$/.test(text)) return '[0-9a-f]{8}'
  if (/^\d{4}-\d\d-/.test(text)) return '\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z'
  if (/^[█▓▒░]/.test(text)) return '[█▓▒░]+.*'
  if (/^\s/.test(text)) return '\\s+'
  return '<?\\d[\\d.,]*(?: (?:[KMGT]iB|B|ms|s|min|h|lanes?)\\b)?'
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}
