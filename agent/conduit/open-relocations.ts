/** Relocations on the parts of a running agent. */
import type { Clouds } from '../clouds/open-cloud.ts'
import type { JobParts } from '../job-parts.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { Table } from '../state-store.ts'
import type { Evidence } from './evidence.ts'
import type { RelocationParts } from './relocation-parts.ts'
import type { RelocationRecord } from './relocation-record.ts'
import { Relocations } from './relocations.ts'
import { openRelocationTarget } from './target-client.ts'
import { keptBody, type ArrivalRecord } from './target-record.ts'

export interface OpenedRelocations extends AsyncDisposable {
  readonly parts: RelocationParts
  readonly relocations: Relocations
  readonly peerName: (peer: string) => string
  /** Of the relocation of that id from here; undefined when there is none. */
  evidenceOf(id: string): Evidence | undefined
}

/** Goes on with what was unfinished. */
export async function openRelocations(
  { mesh, identity, config, log }: JobParts,
  jobs: Jobs,
  clouds: Clouds,
  {
    table,
    arrivals,
  }: { readonly table: Table<RelocationRecord>; readonly arrivals: Pick<Table<ArrivalRecord>, 'all'> },
): Promise<OpenedRelocations> {
  const peerName = (peer: string) => mesh.peers.get(peer)?.name ?? peer.slice(-8)
  const parts: RelocationParts = {
    jobs,
    clouds,
    migrators: { ...config.migrators, log: (name, text) => log.warn({ migrator: name }, text) },
    log,
    arrivals: async () => (await arrivals.all()).filter(({ peer }) => mesh.peers.get(peer) !== undefined),
    openTarget: (asked, signal) =>
      openRelocationTarget(
        mesh,
        {
          identity,
          ...asked,
          keep: (kind, signed) => {
            asked.evidence = { ...asked.evidence, [kind]: keptBody(signed) }
          },
        },
        signal,
      ),
  }
  const relocations = await Relocations.open(parts, {
    table,
    peerName,
    onPeer: (listener) => {
      const connected = (event: { detail: { toString(): string } }) => listener(event.detail.toString())
      mesh.node.addEventListener('peer:connect', connected)
      return { [Symbol.dispose]: () => mesh.node.removeEventListener('peer:connect', connected) }
    },
  })
  return {
    parts,
    relocations,
    peerName,
    evidenceOf(id) {
      const record = relocations.find(id)?.record
      return (
        record && {
          relocation: record.relocation,
          service: record.service.name,
          side: 'source',
          state: record.state,
          source: identity.peerId,
          target: record.peer,
          evidence: record.evidence ?? {},
        }
      )
    },
    [Symbol.asyncDispose]: () => relocations[Symbol.asyncDispose](),
  }
}
