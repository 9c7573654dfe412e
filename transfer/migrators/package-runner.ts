/**
 * Runs one npm package as a Migrator, in a process of its own: speaks the protocol of executables for it. Its default export
 * is an EditMigrator with `files`, the files of a guest that it may ask for.
 */
import { Console } from 'node:console'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { createRequire } from 'node:module'

interface Packaged {
  readonly name: string
  readonly version: string
  readonly accepts: readonly string[]
  readonly produces: readonly string[]
  readonly files: readonly string[]
  check(input: unknown): void
  changes(guest: object, input: unknown, context: object): Promise<readonly Record<string, unknown>[]>
}

type Message = Record<string, unknown>

// What a package prints is for the log; standard output is the conversation.
globalThis.console = new Console(process.stderr)

const [, , folder] = process.argv
const entry = createRequire(join(folder, 'package.json')).resolve(folder)
const { default: migrator } = (await import(pathToFileURL(entry).href)) as { default: Packaged }
const waiting = new Map<number, (message: Message) => void>()
let asked = 0

function say(message: Message): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

async function ask(type: string, path: string): Promise<Message> {
  const id = ++asked
  const { promise, resolve } = Promise.withResolvers<Message>()
  waiting.set(id, resolve)
  say({ type, id, path })
  const answer = await promise
  if (typeof answer.error === 'string') throw new Error(answer.error)
  return answer
}

const guest = {
  async read(path: string, { maxBytes = Infinity } = {}) {
    const { bytes } = await ask('read', path)
    if (typeof bytes !== 'string') return undefined
    const content = Uint8Array.from(Buffer.from(bytes, 'base64'))
    if (content.length > maxBytes) throw new Error(`${path} is larger than ${maxBytes} bytes`)
    return content
  },
  entry: async (path: string) => (await ask('entry', path)).entry ?? undefined,
  list: async (path: string) => (await ask('list', path)).names,
  async [Symbol.asyncDispose]() {},
}

function base64(content: unknown): string | null {
  return content instanceof Uint8Array ? Buffer.from(content).toString('base64') : null
}

async function change({ input, machine }: Message): Promise<void> {
  const [usage, other] = ['usage', 'failed']
  try {
    migrator.check(input)
  } catch (error) {
    say({ type: usage, message: (error as Error).message })
    return
  }
  try {
    const context = { machine, signal: new AbortController().signal }
    const changes = await migrator.changes(guest, input, context)
    say({
      type: 'changes',
      changes: changes.map(({ before, after, ...rest }) => ({
        ...rest,
        before: base64(before),
        after: base64(after),
      })),
    })
  } catch (error) {
    const unsupported = (error as { code?: unknown }).code === 'GUEST_UNSUPPORTED'
    say({ type: unsupported ? 'unsupported' : other, message: (error as Error).message })
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line) as Message
  if (message.type === 'hello') {
    const { name, version, accepts, produces, files } = migrator
    say({ type: 'hello', protocol: 1, name, version, accepts, produces, files })
  } else if (message.type === 'changes') void change(message)
  else waiting.get(Number(message.id))?.(message)
}
