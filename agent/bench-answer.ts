/**
 * The other end of `bench`: takes a benchmark of a peer that holds a grant, throws away what arrives and keeps nothing.
 * One at a time of each peer. Spec: viaduct.md, Benchmark.
 */
import type { Offer } from '../protocol/control-message.ts'
import { answerOffer } from '../protocol/offer.ts'
import { discardPlacement } from '../transfer/backends/discard.ts'
import { createMemoryLevel } from '../transfer/memory-level.ts'
import { UNATTENDED, volatileJob } from './bench-peer.ts'
import { runIncoming } from './jobs/incoming-attempt.ts'
import { roomOf, type IncomingRoom } from './jobs/incoming-room.ts'
import { capabilities, type JobParts } from './job-parts.ts'
import { freshRecord, type JobRecord } from './jobs/job-record.ts'
import type { Viaduct } from './viaduct/viaduct.ts'

export interface BenchAnswers {
  /** Answers an offer that is a benchmark, and takes it to its end. */
  answer(viaduct: Viaduct, offer: Offer): Promise<void>
}

/** Answers for one agent. */
export function createBenchAnswers(parts: JobParts, room: IncomingRoom): BenchAnswers {
  const running = new Set<string>()
  return {
    async answer(viaduct, offer) {
      const { stream, hello } = viaduct
      const { peer } = stream
      const reply = answerOffer({
        offer,
        hello: await hello,
        ours: capabilities(parts),
        grant: parts.mesh.policy.grantFor(peer),
        facts: {
          exists: false,
          busy: running.has(peer),
          freeBytes: 0,
          resumes: false,
          writableFormats: ['raw'],
          now: Date.now(),
        },
        sender: peer,
        receiver: parts.identity.peerId,
      })
      if (reply.kind === 'refuse') {
        parts.mesh.refusals.count('bench')
        await stream.send({ kind: 'refusal', reasons: reply.reasons })
        return
      }
      using taken = room.take(peer, `bench ${peer}`, roomOf(reply.agreement))
      if (!taken) {
        parts.mesh.refusals.count('memory')
        const message = 'As much is being received here now as memory allows'
        await stream.send({ kind: 'refusal', reasons: [{ code: 'LIMIT_EXCEEDED', message }] })
        return
      }
      running.add(peer)
      const cpuBefore = process.cpuUsage()
      const cpuMs = (): number => {
        const { user, system } = process.cpuUsage(cpuBefore)
        return Math.ceil((user + system) / 1000)
      }
      try {
        await runIncoming({
          parts: { ...parts, level: createMemoryLevel(taken.grow) },
          job: volatileJob(recordOf(peer, offer)),
          offer,
          agreement: reply.agreement,
          viaduct,
          room: taken,
          signal: stream.signal,
          ...UNATTENDED,
          place: async ({ sizeBytes }) => discardPlacement(sizeBytes),
          cpuMs,
        })
      } finally {
        running.delete(peer)
      }
    },
  }
}

function recordOf(peer: string, offer: Offer): JobRecord {
  return freshRecord({
    job: Buffer.from(offer.job).toString('hex'),
    direction: 'in',
    peer,
    source: 'bench',
    destination: offer.destination,
    bench: true,
    options: {
      lanes: offer.lanes,
      verifyDeep: false,
      replace: false,
      format: 'raw',
      compression: offer.compression,
    },
    sizeBytes: offer.sizeBytes,
  })
}
