/**
 * The lines of the control socket: what a client may ask, what the agent answers.
 *
 * One JSON object a line. `{id, call, args}` -> `{id, value}` or `{id, error}`; a streaming call -> `{id, item}`
 * as often as it likes, then `{id, end: true}` or `{id, error}`. `{id, abort: true}` ends a call early.
 */
import { MAX_SOCKET_LINE_BYTES } from '../../protocol/limits.ts'
import { ERRORS, FluidError, asFluidError, type ErrorCode } from '../../protocol/errors.ts'
import { STREAMING_CALLS, type AgentApi } from '../api.ts'

/** The name of a call. */
export type CallName = keyof AgentApi

/** An error as it crosses the socket; the table supplies what is missing. */
export interface WireError {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
  readonly peer?: string
  readonly job?: string
  readonly offset?: number
}

/** What a client may send, once read and checked. */
export type Request =
  | { readonly id: number; readonly call: CallName; readonly args: Record<string, unknown> }
  | { readonly id: number; readonly abort: true }

/** What the agent sends. `id` is null when the line it answers had none. */
export type Response =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly item: unknown }
  | { readonly id: number; readonly end: true }
  | { readonly id: number | null; readonly error: WireError }

/** Types of one call's arguments; a trailing ? marks the optional ones, 'map' is a record of strings, 'list' a list of them. */
type Shape = Readonly<Record<string, `${'string' | 'number' | 'boolean' | 'map' | 'list'}${'' | '?'}`>>

const moveShape: Shape = {
  source: 'string',
  peer: 'string',
  destination: 'string',
  lanes: 'number?',
  bandwidth: 'number?',
  verifyDeep: 'boolean?',
  replace: 'boolean?',
  inPlace: 'boolean?',
  format: 'string?',
  compression: 'string?',
}

const relocationShape: Shape = { text: 'string', peer: 'string?', brokers: 'list', live: 'boolean?' }

/** Every call and what it takes. A call that is not here cannot be made. */
export const CALLS: Readonly<Record<CallName, Shape>> = {
  id: {},
  status: {},
  stop: {},
  find: { peer: 'string' },
  pairTicket: {
    expiresMs: 'number',
    uses: 'number',
    folder: 'string?',
    maxBytes: 'number?',
    approve: 'string',
  },
  pairRedeem: { ticket: 'string', name: 'string?' },
  pairRequest: { peer: 'string', name: 'string?' },
  pairList: {},
  pairPending: {},
  pairAccept: { peer: 'string', name: 'string?' },
  pairReject: { peer: 'string' },
  pairRemove: { peer: 'string' },
  policyShow: { peer: 'string?' },
  policySet: {
    peer: 'string',
    folder: 'string?',
    maxBytes: 'number?',
    approve: 'string?',
    targets: 'map?',
    relocate: 'string?',
    maxVcpus: 'number?',
    maxMemoryBytes: 'number?',
    maxMachines: 'number?',
    networks: 'list?',
    forwards: 'string?',
    migrators: 'list?',
    deny: 'boolean?',
  },
  seedAdd: { folder: 'string' },
  seedRemove: { folder: 'string' },
  seedList: {},
  plan: moveShape,
  move: moveShape,
  jobs: {},
  watch: { job: 'string?' },
  pause: { job: 'string' },
  resume: { job: 'string' },
  cancel: { job: 'string' },
  verify: { job: 'string', deep: 'boolean' },
  receipt: { job: 'string' },
  machines: {},
  machineStart: { name: 'string', cloud: 'string?' },
  machineStop: { name: 'string', cloud: 'string?', graceMs: 'number' },
  relocationPlan: relocationShape,
  relocate: relocationShape,
  relocations: {},
  arrivals: {},
  relocationReceipt: { job: 'string' },
  arrivalApprove: { relocation: 'string' },
  arrivalReject: { relocation: 'string' },
  relocationWatch: { job: 'string?' },
  relocationPause: { job: 'string' },
  relocationResume: { job: 'string' },
  cutover: { job: 'string' },
  rollback: { job: 'string', targetGone: 'boolean?' },
  finalize: { job: 'string', keepDisks: 'boolean?' },
  offersPublish: { text: 'string', file: 'string', brokers: 'list' },
  offersWithdraw: { offer: 'string', brokers: 'list' },
  offersList: { brokers: 'list' },
  offersOwn: {},
  match: { text: 'string', brokers: 'list' },
  matchWatch: { text: 'string', brokers: 'list' },
  bench: { peer: 'string', bytes: 'number', lanes: 'number?' },
  doctor: {},
}

const choices: Readonly<Record<string, readonly string[]>> = {
  approve: ['auto', 'ask'],
  format: ['raw', 'qcow2'],
  compression: ['auto', 'on', 'off'],
  relocate: ['qemu', 'libvirt', 'local', 'none'],
  cloud: ['qemu', 'libvirt', 'local'],
  forwards: ['loopback', 'any'],
}

/** True for calls that answer with a stream. */
export function isStreaming(call: CallName): boolean {
  return (STREAMING_CALLS as readonly string[]).includes(call)
}

/** One line, newline included; RangeError when it would exceed MAX_SOCKET_LINE_BYTES. */
export function formatLine(message: object): string {
  const line = `${JSON.stringify(message)}\n`
  if (Buffer.byteLength(line) > MAX_SOCKET_LINE_BYTES) {
    throw new RangeError(`A line of ${Buffer.byteLength(line)} bytes exceeds ${MAX_SOCKET_LINE_BYTES} bytes`)
  }
  return line
}

/** A request read from its line; throws {@link BadRequest}, which knows the id when there was one. */
export function parseRequest(line: string): Request {
  let message: unknown
  try {
    message = JSON.parse(line)
  } catch (cause) {
    throw new BadRequest(null, 'The line is not JSON', cause)
  }
  if (!isRecord(message)) throw new BadRequest(null, 'The line is not a JSON object')
  const { id, call, args = {}, abort } = message
  if (!Number.isSafeInteger(id)) throw new BadRequest(null, 'The request has no integer id')
  const known = id as number
  if (abort === true) return { id: known, abort }
  if (typeof call !== 'string' || !Object.hasOwn(CALLS, call)) {
    throw new BadRequest(known, `The call ${JSON.stringify(call)?.slice(0, 64)} does not exist`)
  }
  if (!isRecord(args)) throw new BadRequest(known, `The arguments of ${call} are not an object`)
  return { id: known, call: call as CallName, args: checkArguments(known, call as CallName, args) }
}

function checkArguments(id: number, call: CallName, args: Record<string, unknown>): Record<string, unknown> {
  const shape = CALLS[call]
  const checked: Record<string, unknown> = {}
  for (const key of Object.keys(args)) {
    if (!Object.hasOwn(shape, key)) throw new BadRequest(id, `${call} takes no argument ${key.slice(0, 64)}`)
  }
  for (const [key, type] of Object.entries(shape)) {
    const value = Object.hasOwn(args, key) ? args[key] : undefined
    if (value === undefined || value === null) {
      if (!type.endsWith('?')) throw new BadRequest(id, `${call} needs the argument ${key}`)
      continue
    }
    if (!isOfType(value, type.replace('?', ''))) {
      throw new BadRequest(id, `The argument ${key} of ${call} is not a ${type.replace('?', '')}`)
    }
    if (choices[key]?.includes(value as string) === false) {
      throw new BadRequest(id, `The argument ${key} of ${call} is none of ${choices[key].join(', ')}`)
    }
    checked[key] = value
  }
  return checked
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'number') return typeof value === 'number' && Number.isFinite(value) && value >= 0
  if (type === 'map') return isRecord(value) && Object.values(value).every((item) => typeof item === 'string')
  if (type === 'list') return Array.isArray(value) && value.every((item) => typeof item === 'string')
  return typeof value === type
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A line that could not be served; the connection stays. */
export class BadRequest extends FluidError {
  readonly id: number | null

  constructor(id: number | null, message: string, cause?: unknown) {
    super('USAGE', message, { cause, hint: 'The command line and the agent may be of different versions' })
    this.id = id
  }
}

/** An error made ready for the socket. */
export function toWireError(error: unknown): WireError {
  const { code, message, details } = asFluidError(error)
  const { hint, peer, job, offset } = details
  return { code, message, hint, peer, job, offset }
}

/** The error the agent threw, here; an unknown code of a newer agent becomes UNEXPECTED. */
export function fromWireError(error: WireError): FluidError {
  const { message, hint, peer, job, offset } = error
  const code = Object.hasOwn(ERRORS, error.code) ? error.code : 'UNEXPECTED'
  return new FluidError(code, String(message), { hint, peer, job, offset })
}
