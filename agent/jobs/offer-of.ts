/** The offer of a job: of a source at hand, or of what was offered before. */
import type { LaneEndpoint, Offer } from '../../protocol/control-message.ts'
import type { PreparedSource } from '../../transfer/prepared-source.ts'
import { capabilities, type JobParts } from '../job-parts.ts'
import type { JobRecord } from './job-record.ts'
import { laneCount, mostLanes } from '../viaduct/lane-count.ts'

/** What of a job's record goes into its offer. */
type Offered = Pick<JobRecord, 'job' | 'destination' | 'source' | 'options' | 'bench'>

/** The offer of a job, one of `jobs` that move now; without an endpoint it is a dry run. */
export async function offerOf(
  parts: JobParts,
  record: Offered,
  source: PreparedSource,
  snapshot: string,
  {
    roundTripMs = Infinity,
    endpoint,
    jobs = 1,
  }: { roundTripMs?: number; endpoint?: LaneEndpoint; jobs?: number },
): Promise<Offer> {
  const { lanes: asked, inPlace: rereads } = record.options
  const line = { roundTripMs, most: parts.config.limits.lanes }
  const most = mostLanes(asked, line, { jobs, rereads })
  return {
    ...commonOffer(parts, record, endpoint),
    sizeBytes: source.sizeBytes,
    allocatedBytes: await source.allocatedBytes(),
    sourceFormat: source.format,
    snapshot,
    lanes: laneCount(asked, line, { jobs, rereads }),
    // Each lane is a client of an NBD server, which may allow only a few.
    mostLanes: most !== undefined && source.format === 'nbd' ? Math.min(most, line.most) : most,
    label: record.source.slice(-200).replace(/[^\x20-\x7e]/g, '?'),
  }
}

/** The offer of a job once more as it was begun, without its source: not for moving, but for telling what became of it. */
export function offerAgain(
  parts: JobParts,
  record: Offered & Pick<JobRecord, 'sizeBytes'> & { readonly snapshot: string },
  endpoint: LaneEndpoint,
): Offer {
  return {
    ...commonOffer(parts, record, endpoint),
    sizeBytes: record.sizeBytes,
    allocatedBytes: 0,
    sourceFormat: 'raw',
    snapshot: record.snapshot,
    lanes: record.options.lanes ?? 1,
    label: '',
  }
}

function commonOffer(parts: JobParts, record: Offered, endpoint: LaneEndpoint | undefined) {
  const { chunkings, codecs } = capabilities(parts)
  const { format, replace, inPlace, verifyDeep, compression } = record.options
  return {
    job: Buffer.from(record.job, 'hex'),
    destination: record.destination,
    targetFormat: format,
    replace,
    verifyDeep,
    chunkings,
    codecs: compression === 'off' ? ['raw'] : codecs,
    dryRun: endpoint === undefined,
    endpoint,
    compression,
    bench: record.bench,
    ...(inPlace && { inPlace: true as const }),
  }
}
