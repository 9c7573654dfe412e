/** The sending side of a job as far as a test wants it sound: hello, offer, accept; lanes and the rest are the test's. */
import { randomBytes } from 'node:crypto'
import { agreementSigningBytes, decodeAgreement } from '../../protocol/agreement.ts'
import type { Agreement, Hello, LaneEndpoint, Offer } from '../../protocol/control-message.ts'
import { PROTOCOL_MINOR, VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import { HOLE_BLOCK_BYTES } from '../../protocol/limits.ts'
import { receiptSigningBytes } from '../../protocol/receipt.ts'
import { CHUNKINGS } from '../../transfer/chunker.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { entriesOf, openRogueLane, rootOf, type RogueLane } from './rogue-lane.ts'
import { talkOver, type RoguePeer, type Talk } from './rogue-peer.ts'

/** A job that both have signed; data may flow. */
export interface RogueJob {
  readonly id: string
  readonly talk: Talk
  readonly agreement: Agreement
  readonly endpoint: LaneEndpoint
  /** A lane to the agent's data port, with the rogue's certificate and its token unless told otherwise. */
  lane(number?: number): Promise<RogueLane>
  complete(root: Uint8Array): void
}

export const HELLO: Hello = {
  major: 1,
  minor: PROTOCOL_MINOR,
  agent: 'rogue/1.0',
  capabilities: {
    chunkings: [...CHUNKINGS],
    codecs: ['zstd', 'raw'],
    lanes: ['tls', 'libp2p'],
    formats: ['raw'],
    maxLanes: 64,
  },
}

/** An offer of 1 MiB as `disk.raw`, sound but for `changes`. Nobody listens at its endpoint, so that the rogue dials. */
export function offerOf(rogue: RoguePeer, changes: Partial<Offer> = {}): Offer {
  return {
    job: randomBytes(16),
    destination: `disk-${randomBytes(4).toString('hex')}.raw`,
    sizeBytes: 1024 * 1024,
    allocatedBytes: 1024 * 1024,
    sourceFormat: 'raw',
    snapshot: 'one',
    targetFormat: 'raw',
    replace: false,
    verifyDeep: false,
    chunkings: [...CHUNKINGS],
    codecs: ['zstd', 'raw'],
    lanes: 2,
    dryRun: false,
    endpoint: { addresses: [], token: randomBytes(16), certificate: rogue.laneIdentity.certificateDer },
    label: 'rogue volume',
    compression: 'auto',
    ...changes,
  }
}

/** A viaduct on which both have said hello. */
export async function greet(rogue: RoguePeer, hello: Hello = HELLO): Promise<Talk> {
  const talk = talkOver(await rogue.open(VIADUCT_PROTOCOL))
  talk.send({ kind: 'hello', ...hello })
  await talk.hear('hello')
  return talk
}

/** Offers and agrees, up to where data flows. */
export async function openJob(
  rogue: RoguePeer,
  dataPort: number,
  changes: Partial<Offer> = {},
  hello: Hello = HELLO,
): Promise<RogueJob> {
  const talk = await greet(rogue, hello)
  const offer = offerOf(rogue, changes)
  talk.send({ kind: 'offer', ...offer })
  const { body, endpoint } = await talk.hear('agreement')
  talk.send({ kind: 'accept', signature: await rogue.sign(agreementSigningBytes(body)) })
  while ((await talk.hear('committed')).more);
  // No lane is taken before the agent has looked for ours.
  await talk.hear('lane-report')
  return {
    id: Buffer.from(offer.job).toString('hex'),
    talk,
    agreement: decodeAgreement(body),
    endpoint: endpoint!,
    lane: (number = 0) =>
      openRogueLane({
        port: dataPort,
        serverName: serverName(endpoint!.token, number),
        identity: rogue.laneIdentity,
      }),
    complete: (root) =>
      talk.send({
        kind: 'complete',
        root,
        totals: { sentBytes: 0, wireBytes: 0, resumedBytes: 0, startedAtMs: 0, path: 'tls' },
      }),
  }
}

/** Moves a volume of 1 MiB soundly that holds `bytes` at its start, in one chunk of whole blocks; gives the job's id. */
export async function moveChunk(
  rogue: RoguePeer,
  dataPort: number,
  text: Uint8Array,
  changes: Partial<Offer> = {},
  hello: Hello = HELLO,
): Promise<string> {
  const job = await openJob(rogue, dataPort, changes, hello)
  const { sizeBytes, chunking } = job.agreement
  const wholeBytes = Math.ceil(text.length / HOLE_BLOCK_BYTES) * HOLE_BLOCK_BYTES
  const bytes = Buffer.alloc(Math.min(sizeBytes, wholeBytes))
  bytes.set(text)
  using lane = await job.lane()
  const entries = entriesOf([{ offset: 0, bytes }])
  lane.have(1, 0, sizeBytes, entries)
  await lane.hear('want')
  lane.data(1, 0, 1, bytes)
  await job.talk.hear('checkpoint')
  lane.write({ bye: {} })
  lane.sendBytes(new Uint8Array(8))
  job.complete(rootOf(sizeBytes, chunking, entries))
  const { body, receiverSignature } = await job.talk.hear('receipt')
  const senderSignature = await rogue.sign(receiptSigningBytes(body))
  job.talk.send({ kind: 'receipt', body, receiverSignature, senderSignature })
  await job.talk.ended
  return job.id
}
