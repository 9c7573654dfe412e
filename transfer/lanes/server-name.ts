/** The TLS server name a dialing lane shows: it tells the listener which job attempt and lane the socket is for. Pure. */
import { MAX_LANES, TOKEN_BYTES } from '../../protocol/limits.ts'

const SUFFIX = '.lane.fluidcloud'
const PATTERN = /^([0-9a-f]{32})\.(0|[1-9][0-9]{0,2})\.lane\.fluidcloud$/

/**
 * `<32 hex digits of the token>.<lane>.lane.fluidcloud`; throws RangeError on a token or lane out of range.
 * The token is no secret, it travels in clear: the pinned certificates authenticate.
 */
export function serverName(token: Uint8Array, lane: number): string {
  if (token.byteLength !== TOKEN_BYTES)
    throw new RangeError(`A lane token has ${TOKEN_BYTES} bytes, not ${token.byteLength}`)
  if (!Number.isInteger(lane) || lane < 0 || lane >= MAX_LANES)
    throw new RangeError(`A lane number is at least 0 and below ${MAX_LANES}, not ${lane}`)
  return `${Buffer.from(token.buffer, token.byteOffset, token.byteLength).toString('hex')}.${lane}${SUFFIX}`
}

/** The token (lower-case hex) and lane in a server name; undefined when it is not one of ours. */
export function parseServerName(name: string): { readonly token: string; readonly lane: number } | undefined {
  const match = PATTERN.exec(name)
  if (!match) return undefined
  const lane = Number(match[2])
  return lane < MAX_LANES ? { token: match[1], lane } : undefined
}
