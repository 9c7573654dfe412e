/**
 * A conversation with a Migrator of a third party: lines of JSON over its standard input and output, as migrators.md has
 * them. Whatever it does, it costs bounded memory and time, and ends with MIGRATOR_FAILED and a sentence.
 */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_CHANGE_BYTES } from '../../protocol/limits.ts'
import { type ChildGroup, startChildGroup } from './child-group.ts'
import { linesOfStream } from './bounded-lines.ts'

/** How a Migrator is started, and what it is called in messages. */
export interface ExternalCommand {
  readonly name: string
  readonly command: readonly string[]
  /** Address space; undefined for Node, which reserves far more than it uses. */
  readonly memoryMiB?: number
  /** For the agent's own log: what it said on standard error, at most MAX_STDERR_BYTES. */
  readonly log?: (text: string) => void
  /** From its start to its end. Default DEFAULT_DEADLINE_MS. */
  readonly deadlineMs?: number
}

export const DEFAULT_DEADLINE_MS = 60_000
const CPU_SECONDS = 60
/** Largest line: all changes of a guest in base64, before and after, and their paths. */
const MAX_LINE_BYTES = Math.ceil(MAX_GUEST_CHANGE_BYTES * 1.5)
/** All it may say. */
const MAX_TOTAL_BYTES = 2 * MAX_LINE_BYTES
const MAX_STDERR_BYTES = 16 * 1024

export type Message = Readonly<Record<string, unknown>> & { readonly type: string }

export interface ExternalSession extends AsyncDisposable {
  send(message: Message): Promise<void>
  /** The next thing it says. Throws MIGRATOR_FAILED when there is none. */
  receive(): Promise<Message>
  failed(what: string): FluidError
}

export async function openExternalSession(
  { name, command, memoryMiB, log, deadlineMs = DEFAULT_DEADLINE_MS }: ExternalCommand,
  signal: AbortSignal,
): Promise<ExternalSession> {
  signal.throwIfAborted()
  const group = await startChildGroup(command, { cpuSeconds: CPU_SECONDS, memoryMiB })
  const failed = (what: string) => new FluidError('MIGRATOR_FAILED', `Migrator ${name} ${what}`)
  const ending = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)])
  ending.addEventListener('abort', group.kill, { once: true })
  if (ending.aborted) group.kill()
  const said = lastOf(group)
  const lines = linesOfStream(group.child.stdout, { maxLine: MAX_LINE_BYTES, maxTotal: MAX_TOTAL_BYTES })

  /** Why there is nothing more of it. */
  const ended = async (): Promise<FluidError> => {
    signal.throwIfAborted()
    if (ending.aborted) return failed(`did not end within ${deadlineMs} ms`)
    group.kill()
    return failed(`${await group.ended} before it was done`)
  }

  return {
    failed,
    async send(message) {
      const { stdin } = group.child
      if (stdin.destroyed || stdin.write(`${JSON.stringify(message)}\n`)) return
      // Drained, or gone: what it says next tells which.
      const { promise, resolve } = Promise.withResolvers<void>()
      stdin.once('drain', resolve).once('close', resolve)
      await Promise.race([promise, group.ended])
    },
    async receive() {
      const { value, done } = await lines.next().catch((error: unknown) => {
        throw failed((error as Error).message)
      })
      if (done) throw await ended()
      const message = parsed(value)
      if (!message) throw failed('said something that is no JSON object with a type')
      return message
    },
    async [Symbol.asyncDispose]() {
      ending.removeEventListener('abort', group.kill)
      await lines.return(undefined)
      group.kill()
      await group.ended
      await group.allSaid()
      await group[Symbol.asyncDispose]()
      const text = said()
      if (text !== '') log?.(text)
    },
  }
}

function lastOf({ child }: ChildGroup): () => string {
  let kept = Buffer.alloc(0)
  child.stderr.on('data', (bytes: Buffer) => {
    kept = Buffer.concat([kept, bytes.subarray(-MAX_STDERR_BYTES)]).subarray(-MAX_STDERR_BYTES)
  })
  return () => kept.toString()
}

function parsed(line: string): Message | undefined {
  try {
    const message: unknown = JSON.parse(line)
    if (typeof message !== 'object' || message === null || Array.isArray(message)) return undefined
    return 'type' in message && typeof message.type === 'string' ? (message as Message) : undefined
  } catch {
    return undefined
  }
}
