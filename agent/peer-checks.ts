/** `doctor`, the part only the running agent can do: is each paired peer there, and how is it reached. */
import { peerIdFromString } from '@libp2p/peer-id'
import { asFluidError } from '../protocol/errors.ts'
import type { CheckReport } from './api.ts'
import type { Directory } from './directory.ts'
import type { JobParts } from './job-parts.ts'
import type { PeerRecord } from './peers.ts'
import { openViaduct } from './viaduct.ts'

const CHECK_TIMEOUT_MS = 5_000

/** Is anybody of the directory there. */
export function checkDirectory({ size }: Directory): CheckReport {
  if (size > 0)
    return { name: 'directory', state: 'ok', detail: `knows ${size} ${size === 1 ? 'agent' : 'agents'}` }
  return {
    name: 'directory',
    state: 'warn',
    detail: 'no other agent of the directory answers',
    hint: 'Name one that is reachable in bootstrap, or wait for others to come',
  }
}

/** One check a peer, all at once. */
export function checkPeers(parts: JobParts, peers: readonly PeerRecord[]): Promise<CheckReport[]> {
  return Promise.all(peers.map((record) => checkPeer(parts, record)))
}

async function checkPeer(parts: JobParts, { peer, name }: PeerRecord): Promise<CheckReport> {
  const check = `peer ${name}`
  const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS)
  try {
    const { stream, hello, remoteAddr } = await openViaduct(parts, peer, signal)
    await stream[Symbol.asyncDispose]()
    const roundTripMs = await parts.mesh.node.services.ping.ping(peerIdFromString(peer), { signal })
    return {
      name: check,
      state: 'ok',
      detail: `${hello.agent} at ${remoteAddr.toString()}, ${roundTripMs} ms`,
    }
  } catch (error) {
    const { message, hint } = asFluidError(error)
    return { name: check, state: 'warn', detail: message, hint }
  }
}
