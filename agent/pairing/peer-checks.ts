/** `doctor`, the part only the running agent can do: is each paired peer there, and how is it reached. */
import { peerIdFromString } from '@libp2p/peer-id'
import { asFluidError } from '../../protocol/errors.ts'
import type { CheckReport } from '../reports/agent-reports.ts'
import type { Directory } from '../mesh/directory.ts'
import type { JobParts } from '../job-parts.ts'
import type { PeerRecord } from '../mesh/peers.ts'
import { bestConnection } from '../mesh/dial-peer.ts'
import { punchedBy, whyNotPunched } from '../mesh/punch.ts'
import { openViaduct } from '../viaduct/viaduct.ts'

/** Direct addresses, and then a hole, may be waited for in vain. */
const CHECK_TIMEOUT_MS = 12_000

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
    const { stream, hello: hearing, remoteAddr, relayed } = await openViaduct(parts, peer, signal)
    const hello = await hearing
    await stream[Symbol.asyncDispose]()
    const roundTripMs = await parts.mesh.node.services.ping.ping(peerIdFromString(peer), { signal })
    const detail = `${hello.agent} at ${remoteAddr.toString()}, ${roundTripMs} ms`
    const best = bestConnection(parts.mesh.node, peer)
    const punched = best && punchedBy(best)
    if (punched && !relayed)
      return { name: check, state: 'ok', detail: `${detail}, by ${punched} through a hole punched in NAT` }
    if (!relayed) return { name: check, state: 'ok', detail }
    const why = whyNotPunched(parts.mesh.node, peer)
    const tried = parts.mesh.peers.get(peer)?.addrs.length ?? 0
    const data = parts.config.allowRelay && hello.capabilities.lanes.includes('relay') ? 'may' : 'may not'
    return {
      name: check,
      state: 'warn',
      detail: `${detail}, through a relay: none of its ${tried} addresses answers directly${why ? `, and ${why}` : ''}; data ${data} take it`,
      hint: 'Open port 4001 (mesh) or 4002 (data) at one side, or forward it',
    }
  } catch (error) {
    const { message, hint } = asFluidError(error)
    return { name: check, state: 'warn', detail: message, hint }
  }
}
