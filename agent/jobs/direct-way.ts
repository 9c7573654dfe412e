/**
 * A job whose data rides a relay looks for a direct way, and moves to it by ending the attempt: the next one begins
 * where this one was durable, with lanes on what was found. Both sides look, since either may be the one that can dial.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { LaneEndpoint } from '../../protocol/control-message.ts'
import { DIRECT_PROBE_CAP_MS, DIRECT_PROBE_MS } from '../../protocol/limits.ts'
import { isCircuit } from '../mesh/addresses.ts'
import { dialDirect } from '../mesh/dial-peer.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import { type HostPort, reachableAt } from '../viaduct/lane-dialing.ts'
import { addrsOf } from '../mesh/peer-address.ts'
import { punch, relayedOnly } from '../mesh/punch.ts'

/** How often a job moved and found itself on a relay again: it looks more rarely then. */
const moves = new WeakMap<Job, number>()

/** What was found: where the peer's data port answers, or else a connection of the mesh. */
export type DirectWay = HostPort | 'mesh'

/**
 * Looks for a way to the data port of `endpoint`, and for a direct connection of the mesh unless told not to, again and
 * again with growing waits, until one is found or it is disposed.
 */
export function watchForDirect(
  {
    parts,
    job,
    endpoint,
    mesh = true,
  }: { parts: JobParts; job: Job; endpoint: LaneEndpoint; mesh?: boolean },
  onFound: (way: DirectWay) => void,
): Disposable {
  const over = new AbortController()
  const { signal } = over
  const times = moves.get(job) ?? 0
  const look = async (): Promise<void> => {
    for (let wait = DIRECT_PROBE_MS * 2 ** times; ; wait *= 2) {
      await delay(Math.min(wait, DIRECT_PROBE_CAP_MS), undefined, { signal, ref: false })
      const at =
        (await reachableAt(endpoint, signal)) ?? (mesh ? await meshWay(parts, job, signal) : undefined)
      if (!at) continue
      moves.set(job, times + 1)
      return onFound(at)
    }
  }
  look().catch(() => {})
  return { [Symbol.dispose]: () => over.abort() }
}

async function meshWay({ mesh }: JobParts, job: Job, signal: AbortSignal): Promise<'mesh' | undefined> {
  const { peer } = job.record
  const known = mesh.peers.get(peer)?.addrs ?? []
  const direct = addrsOf(known, peer).filter((addr) => !isCircuit(addr))
  const relayed = relayedOnly(mesh.node, peer)
  return await dialDirect(mesh.node, direct, { signal })
    .catch((error: unknown) => {
      if (relayed) return punch(mesh.node, relayed, { signal, again: true })
      throw error
    })
    .then(
      () => 'mesh' as const,
      () => undefined,
    )
}
