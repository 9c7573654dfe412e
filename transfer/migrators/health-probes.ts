/** One try of one health check: undefined when it passed, else what failed, as the end of a sentence. */
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { startChildGroup } from './child-group.ts'

/** As much of a body is looked at. */
const MAX_BODY_BYTES = 2 ** 20
/** An accepted connection that ends sooner has nobody behind it: a forwarded port accepts before its machine does. */
const TCP_SETTLE_MS = 200
const MAX_WORDS = 200

type Failed = string | undefined

export async function probeHttp(
  { url, status, contains }: { readonly url: string; readonly status?: number; readonly contains?: string },
  signal: AbortSignal,
): Promise<Failed> {
  try {
    const response = await answerOf(new URL(url), signal)
    try {
      const got = response.statusCode ?? 0
      if (status === undefined ? got < 200 || got > 299 : got !== status)
        return `answered ${got}, not ${status ?? '200 to 299'}`
      if (contains !== undefined && !(await bodyHas(response, contains)))
        return `answered ${got} without ${JSON.stringify(contains.slice(0, MAX_WORDS))}`
      return undefined
    } finally {
      response.destroy()
    }
  } catch (error) {
    return failureOf(error, signal)
  }
}

async function answerOf(url: URL, signal: AbortSignal): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  // Loading it takes 40 ms of processor time, which an agent's start need not wait for.
  const { request } = await (url.protocol === 'https:' ? import('node:https') : import('node:http'))
  // Each try on a connection of its own: one from before a machine moved leads nowhere.
  request(url, { agent: false, signal, family: familyOf(url.hostname) }, resolve)
    .on('error', reject)
    .end()
  return promise
}

/** localhost is 127.0.0.1, as whoever allowed the check took it to be: at ::1 may be someone else. 0: any. */
function familyOf(host: string): 0 | 4 {
  return host === 'localhost' ? 4 : 0
}

async function bodyHas(response: IncomingMessage, wanted: string): Promise<boolean> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    parts.push(part)
    length += part.length
    if (length >= MAX_BODY_BYTES) break
  }
  return Buffer.concat(parts).includes(wanted)
}

export async function probeTcp(
  { host, port }: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<Failed> {
  const { promise, resolve } = Promise.withResolvers<Failed>()
  const socket = connect({ host, port, signal, family: familyOf(host) })
  let settled: NodeJS.Timeout | undefined
  socket.once('connect', () => {
    settled = setTimeout(() => resolve(undefined), TCP_SETTLE_MS)
  })
  socket.once('data', () => resolve(undefined))
  socket.once('end', () => resolve('accepted a connection and closed it at once'))
  socket.once('error', (error) => resolve(failureOf(error, signal)))
  try {
    return await promise
  } finally {
    clearTimeout(settled)
    socket.destroy()
  }
}

export async function probeCommand(command: readonly string[], signal: AbortSignal): Promise<Failed> {
  if (signal.aborted) return failureOf(signal.reason, signal)
  await using group = await startChildGroup(command, { cpuSeconds: 60 })
  let said = ''
  group.child.stdout.resume()
  group.child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-1024)
  })
  group.child.stdin.end()
  signal.addEventListener('abort', group.kill, { once: true })
  if (signal.aborted) group.kill()
  try {
    const ended = await group.ended
    group.kill()
    await group.allSaid()
    if (group.succeeded()) return undefined
    if (signal.aborted) return failureOf(signal.reason, signal)
    const last = said.trim().split('\n').at(-1)!
    return last === '' ? ended : `${ended}: ${last.slice(0, MAX_WORDS)}`
  } finally {
    signal.removeEventListener('abort', group.kill)
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections',
  ECONNRESET: 'broke the connection off',
  EHOSTUNREACH: 'cannot be reached',
  ENETUNREACH: 'cannot be reached',
  ENOTFOUND: 'has a name that nobody knows',
  EPIPE: 'broke the connection off',
  ETIMEDOUT: 'did not answer in time',
}

function failureOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'did not answer in time'
  const { code, message } = error as NodeJS.ErrnoException & AggregateError
  return REASONS[code ?? ''] ?? `failed: ${(message || String(code)).slice(0, MAX_WORDS)}`
}
