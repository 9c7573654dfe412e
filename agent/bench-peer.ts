/**
 * `bench`: moves a volume that is made up here to a peer that throws it away, through the engine a real move uses.
 * Neither side keeps anything of it: job, journal and receipt live in memory. Spec: viaduct.md, Benchmark.
 */
import { randomBytes } from 'node:crypto'
import { decodeAgreement } from '../protocol/agreement.ts'
import { FluidError } from '../protocol/errors.ts'
import { JOB_ID_BYTES, MAX_BENCH_BYTES } from '../protocol/limits.ts'
import { BENCH_DESTINATION } from '../protocol/offer.ts'
import { createGeneratedSource, generatedUrl } from '../transfer/backends/generated.ts'
import { Journal } from '../transfer/journal.ts'
import { createMemoryLevel } from '../transfer/memory-level.ts'
import type { PreparedSource } from '../transfer/prepared-source.ts'
import type { BenchReport } from './reports/agent-reports.ts'
import { dialPeer } from './mesh/dial-peer.ts'
import { Job } from './jobs/job.ts'
import type { JobParts } from './job-parts.ts'
import { freshRecord, type JobRecord } from './jobs/job-record.ts'
import { runOutgoing } from './jobs/outgoing-attempt.ts'
import { roundTrip } from './viaduct/round-trip.ts'
import { bodyBytes } from './jobs/signed-body.ts'

export interface BenchOptions {
  /** How much to send, 1 to MAX_BENCH_BYTES. */
  readonly bytes: number
  /** Undefined: as many as the line asks for. */
  readonly lanes?: number
  readonly signal: AbortSignal
}

const GIB = 2 ** 30

/**
 * Measures the path to a paired peer. Processor time is of whole processes: other jobs of the two agents count too.
 * Throws USAGE, NOT_PAIRED, PEER_UNREACHABLE, POLICY_DENIED (no grant there), NAME_BUSY (one at a time),
 * VERSION_UNSUPPORTED (the peer knows no benchmarks).
 */
export async function benchPeer(
  parts: JobParts,
  peer: string,
  { bytes, lanes, signal }: BenchOptions,
): Promise<BenchReport> {
  if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > MAX_BENCH_BYTES) {
    throw new FluidError('USAGE', `A benchmark sends 1 to ${MAX_BENCH_BYTES} bytes, not ${bytes}`)
  }
  await using source = prepareGenerated(bytes)
  const snapshot = await source.fingerprint()
  const job = volatileJob(benchRecord(peer, bytes, lanes))
  const journal = await Journal.open(createMemoryLevel(), Buffer.from(job.id, 'hex'))
  const cpuBefore = process.cpuUsage()
  const receipt = await runOutgoing({
    parts,
    job,
    source,
    snapshot,
    fingerprint: snapshot,
    journal,
    signal,
    ...UNATTENDED,
  }).catch(refuse)
  const { user, system } = process.cpuUsage(cpuBefore)
  // Afterwards: the peer answers one ping at a time, and refuses a second benchmark before.
  const roundTripMs = await roundTrip(await dialPeer(parts.mesh, peer, { signal }), signal)
  const seconds = Math.max(job.report().seconds, 0.001)
  return {
    peer,
    roundTripMs,
    bytes,
    seconds,
    bytesPerSecond: Math.round(bytes / seconds),
    lanes: decodeAgreement(bodyBytes(job.record.agreement!)).lanes,
    path: job.report().path ?? 'tls',
    cpuSecondsPerGiB: (user + system) / 1e6 / (bytes / GIB),
    peerCpuSecondsPerGiB: receipt?.cpuMs === undefined ? undefined : receipt.cpuMs / 1000 / (bytes / GIB),
  }
}

/** A job of which nothing is kept. */
export function volatileJob(record: JobRecord): Job {
  return new Job(record, { put: async () => {} }, (peer) => peer)
}

/** Nobody can pause a benchmark: whoever asked for it goes away to end it. It takes all cores. */
export const UNATTENDED = {
  onWish: (): Disposable => ({ [Symbol.dispose]() {} }),
  moving: () => 1,
} as const

function benchRecord(peer: string, bytes: number, lanes: number | undefined): JobRecord {
  return freshRecord({
    job: randomBytes(JOB_ID_BYTES).toString('hex'),
    direction: 'out',
    peer,
    source: 'bench',
    destination: BENCH_DESTINATION,
    bench: true,
    options: { lanes, verifyDeep: false, replace: false, format: 'raw', compression: 'auto' },
    sizeBytes: bytes,
  })
}

/** As prepareSource() gives it for what operators name. */
function prepareGenerated(sizeBytes: number): PreparedSource {
  const source = createGeneratedSource(sizeBytes)
  return {
    url: generatedUrl(sizeBytes),
    source,
    format: 'raw',
    sizeBytes,
    allocatedBytes: async () => sizeBytes,
    fingerprint: () => source.fingerprint(),
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  }
}

/** What these codes mean of a benchmark. A peer that knows none sees a move to a name that no move may use. */
function refuse(error: unknown): never {
  if (!(error instanceof FluidError)) throw error
  if (error.code === 'NAME_BUSY')
    throw new FluidError(error.code, error.message, { hint: 'Wait until it has ended' })
  if (error.code === 'LANE_FAILED')
    throw new FluidError(error.code, error.message, { cause: error, hint: 'Run it again' })
  if (error.code !== 'NAME_INVALID') throw error
  throw new FluidError('VERSION_UNSUPPORTED', 'The peer knows no benchmarks', {
    cause: error,
    hint: 'Update the agent there; the older one wrote nothing',
  })
}
