/**
 * A client of QEMU's machine protocol: one JSON object a line, commands answered in order, events between. A monitor serves
 * one client at a time, so a connection is opened for one operation and closed after it.
 * https://www.qemu.org/docs/master/interop/qmp-spec.html
 */
import { connect, type Socket } from 'node:net'
import { FluidError } from '../../protocol/errors.ts'

/** Longest answer that is read: query-named-block-nodes names every node with all it knows of it. */
const MAX_LINE_BYTES = 16 * 2 ** 20
/** Events that are kept for who waits for one that may have come already. */
const MAX_EVENTS_KEPT = 256
/** Time for a monitor to greet; one that serves another client does not. */
const GREETING_TIMEOUT_MS = 1_000
const COMMAND_TIMEOUT_MS = 30_000

export interface QmpEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
}

/** One connection to a monitor. Calls throw CLOUD_FAILED with what QEMU said, or that it did not. */
export interface Qmp extends AsyncDisposable {
  /** Runs a command; the result is what it returns. */
  execute(command: string, args?: object, options?: { timeoutMs?: number }): Promise<unknown>
  /** The first event of this name that `is` wanted, of those that came since the connection and those to come. */
  event(
    name: string,
    is: (data: QmpEvent['data']) => boolean,
    options?: { timeoutMs?: number },
  ): Promise<QmpEvent>
}

/** Connects to the first of several monitors of one QEMU that is free. */
export async function openQmp(
  monitors: readonly string[],
  { signal }: { signal?: AbortSignal } = {},
): Promise<Qmp> {
  let failure: unknown
  // Twice: whoever holds them all holds them for one operation only.
  for (const path of [...monitors, ...monitors]) {
    signal?.throwIfAborted()
    try {
      return await openMonitor(path)
    } catch (error) {
      failure = error
    }
  }
  throw new FluidError('CLOUD_FAILED', `No monitor of QEMU answers: ${(failure as Error).message}`, {
    cause: failure,
  })
}

async function openMonitor(path: string): Promise<Qmp> {
  const session = new QmpSession(path)
  try {
    await session.greeting
    await session.execute('qmp_capabilities')
    return session
  } catch (error) {
    await session[Symbol.asyncDispose]()
    throw error
  }
}

/** Somebody who waits for a line that `take` takes. */
interface Waiter {
  readonly take: (message: Record<string, unknown>) => boolean
  readonly fail: (error: Error) => void
}

class QmpSession implements Qmp {
  readonly #socket: Socket
  readonly #waiters = new Set<Waiter>()
  readonly #events: QmpEvent[] = []
  readonly #closed = Promise.withResolvers<void>()
  readonly greeting: Promise<unknown>
  #dead: Error | undefined
  #chunks: Buffer[] = []
  #heldBytes = 0
  #next = 0

  constructor(path: string) {
    this.#socket = connect(path)
    this.#socket.on('data', (bytes: Buffer) => this.#arrived(bytes))
    this.#socket.on('error', (error) => this.#fail(`The monitor ${path} failed: ${error.message}`))
    this.#socket.on('close', () => {
      this.#fail(`QEMU closed the monitor ${path}`)
      this.#closed.resolve()
    })
    this.greeting = this.#wait(`a greeting of ${path}`, GREETING_TIMEOUT_MS, (message) =>
      'QMP' in message ? { value: undefined } : undefined,
    )
  }

  async execute(command: string, args: object = {}, options: { timeoutMs?: number } = {}): Promise<unknown> {
    const id = ++this.#next
    const answer = this.#wait(command, options.timeoutMs ?? COMMAND_TIMEOUT_MS, (message) => {
      if (message.id !== id) return undefined
      if (!('error' in message)) return { value: message.return }
      const said = String((message.error as { desc?: unknown } | null)?.desc).slice(0, 1000)
      return { error: new FluidError('CLOUD_FAILED', `QEMU refused ${command}: ${said}`) }
    })
    if (!this.#dead) this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    return answer
  }

  async event(
    name: string,
    is: (data: QmpEvent['data']) => boolean,
    options: { timeoutMs?: number } = {},
  ): Promise<QmpEvent> {
    const wanted = (found: QmpEvent) => found.event === name && is(found.data)
    const known = this.#events.find(wanted)
    if (known) return known
    return this.#wait(name, options.timeoutMs ?? COMMAND_TIMEOUT_MS, (message) => {
      const found = eventOf(message)
      return found && wanted(found) ? { value: found } : undefined
    }) as Promise<QmpEvent>
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy()
    await this.#closed.promise
  }

  async #wait(
    what: string,
    timeoutMs: number,
    take: (message: Record<string, unknown>) => { value: unknown } | { error: Error } | undefined,
  ): Promise<unknown> {
    if (this.#dead) throw this.#dead
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const waiter: Waiter = {
      take(message) {
        const taken = take(message)
        if (taken && 'error' in taken) reject(taken.error)
        else if (taken) resolve(taken.value)
        return taken !== undefined
      },
      fail: reject,
    }
    this.#waiters.add(waiter)
    const late = new FluidError('CLOUD_FAILED', `QEMU did not answer in ${timeoutMs} ms: ${what}`)
    const timer = setTimeout(() => reject(late), timeoutMs)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#waiters.delete(waiter)
    }
  }

  #arrived(bytes: Buffer): void {
    let from = 0
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, from)) {
      this.#chunks.push(bytes.subarray(from, end))
      const line = Buffer.concat(this.#chunks).toString('utf8')
      this.#chunks = []
      this.#heldBytes = 0
      from = end + 1
      this.#line(line)
    }
    this.#heldBytes += bytes.length - from
    if (this.#heldBytes > MAX_LINE_BYTES) this.#fail(`QEMU sent a line of more than ${MAX_LINE_BYTES} bytes`)
    else if (from < bytes.length) this.#chunks.push(bytes.subarray(from))
  }

  #line(line: string): void {
    if (this.#dead || line.trim() === '') return
    let message: Record<string, unknown>
    try {
      message = JSON.parse(line) as Record<string, unknown>
    } catch {
      return this.#fail('QEMU sent a line that is no JSON')
    }
    const found = eventOf(message)
    if (found) {
      this.#events.push(found)
      if (this.#events.length > MAX_EVENTS_KEPT) this.#events.shift()
    }
    for (const waiter of this.#waiters) if (waiter.take(message)) this.#waiters.delete(waiter)
  }

  #fail(message: string): void {
    if (this.#dead) return
    this.#dead = new FluidError('CLOUD_FAILED', message)
    this.#socket.destroy()
    for (const waiter of this.#waiters) waiter.fail(this.#dead)
    this.#waiters.clear()
  }
}

function eventOf(message: Record<string, unknown>): QmpEvent | undefined {
  const { event, data } = message
  if (typeof event !== 'string') return undefined
  return { event, data: typeof data === 'object' && data !== null ? (data as QmpEvent['data']) : {} }
}
