/**
 * Catalogue messages to protobuf and back, one writer and one reader for each kind; spec catalog.md, Messages.
 *
 * Readers check every field against limits.ts, but not what is inside a signed offer: a bad one among many gets a
 * verdict of its own from examineOffer(). What this side would refuse it does not send: encodeCatalog() reads back.
 */
import type {
  CatalogMessage,
  CatalogMessageOf,
  ChainGap,
  Entry,
  Outcome,
  SignedOffer,
  SummaryNode,
  Verdict,
} from './catalog-message.ts'
import { readRequest, writeRequest } from './catalog-request.ts'
import { ERRORS, codeOfWire } from './errors.ts'
import {
  MAX_UINT32,
  boundedBytes,
  decodeMessage,
  fixedBytes,
  integer,
  list,
  printable,
  text,
  token,
  violation,
} from './field.ts'
import {
  DIGEST_BYTES,
  MAX_CATALOG_FRAME_BYTES,
  MAX_CHAIN_STEPS,
  MAX_ENTRIES_PER_FRAME,
  MAX_ENTRY_PREFIXES,
  MAX_LISTED,
  MAX_OFFERS_PER_ANSWER,
  MAX_OFFERS_PER_FRAME,
  MAX_PREFIX_BYTES,
  MAX_SUMMARY_PREFIXES,
  MAX_TEXT_BYTES,
  OFFER_POSITION_BYTES,
} from './limits.ts'
import { fluidcloud } from './pb/catalog.js'
import { isPeerId } from './peer-id.ts'

type WireFrame = fluidcloud.catalog.v1.Frame.$Properties
type WireName = NonNullable<WireFrame['message']>

const { Frame } = fluidcloud.catalog.v1
const SEQUENCE_BYTES = 8
const ENTRY_BYTES = OFFER_POSITION_BYTES + SEQUENCE_BYTES
/** Bytes of the digest of a node: half a BLAKE3 digest, as in positions. */
const NODE_DIGEST_BYTES = DIGEST_BYTES / 2
/** Children of a prefix: one for each value of its next byte. */
const MAX_NODES = 256
/** What protobuf adds to an offer in a frame, at most: tags and lengths of the offer, its body and its signature. */
const OFFER_OVERHEAD_BYTES = 16
/** Of a frame, for all that is not offers. */
const FRAME_OVERHEAD_BYTES = 64

const OUTCOMES: Readonly<Record<Outcome, number>> = {
  kept: 1,
  held: 2,
  oversized: 3,
  malformed: 4,
  forged: 5,
  replayed: 6,
  expired: 7,
  early: 8,
  lease: 9,
  crowded: 10,
  hasty: 11,
}

const GAPS: readonly (ChainGap | undefined)[] = [undefined, 'source', 'target', 'between']

/** One catalogue frame without its length prefix; throws PROTOCOL_VIOLATION for what the other side would refuse. */
export function encodeCatalog(message: CatalogMessage): Uint8Array {
  if (message.kind === 'unknown') throw new TypeError('A message of an unknown kind cannot be encoded')
  const write = WRITERS[message.kind] as (message: CatalogMessage) => WireFrame
  const bytes = Frame.encode(write(message)).finish()
  integer('Catalogue frame length', bytes.length, 1, MAX_CATALOG_FRAME_BYTES)
  decodeCatalog(bytes)
  return bytes
}

/** The message of one frame; nothing in it refers to `bytes` afterwards. Throws PROTOCOL_VIOLATION. */
export function decodeCatalog(bytes: Uint8Array): CatalogMessage {
  const frame = decodeMessage('Catalogue frame', (reader) => Frame.decode(reader), bytes)
  if (!frame.message) return { kind: 'unknown' }
  const read = READERS[frame.message] as (value: unknown) => CatalogMessage
  return read(frame[frame.message])
}

/** `offers` cut so that each part fits into one frame; nothing at all is one empty part. */
export function* framesOf(offers: Iterable<SignedOffer>): Generator<SignedOffer[]> {
  let part: SignedOffer[] = []
  let bytes = FRAME_OVERHEAD_BYTES
  for (const offer of offers) {
    const more = offer.body.length + offer.signature.length + OFFER_OVERHEAD_BYTES
    if (part.length === MAX_OFFERS_PER_FRAME || (part.length > 0 && bytes + more > MAX_CATALOG_FRAME_BYTES)) {
      yield part
      part = []
      bytes = FRAME_OVERHEAD_BYTES
    }
    part.push(offer)
    bytes += more
  }
  yield part
}

type Writers = {
  readonly [K in Exclude<CatalogMessage['kind'], 'unknown'>]: (message: CatalogMessageOf<K>) => WireFrame
}

const WRITERS: Writers = {
  publish: ({ offers }) => ({ publish: { offers: offers.map(writeOffer) } }),
  published: ({ verdicts }) => ({
    published: {
      verdicts: verdicts.map(({ outcome, message }) => ({
        outcome: OUTCOMES[outcome],
        message: printable(message, MAX_TEXT_BYTES),
      })),
    },
  }),
  query: ({ request, limit, failing }) => ({ query: { request: writeRequest(request), limit, failing } }),
  watch: ({ request, limit }) => ({ watch: { request: writeRequest(request), limit } }),
  list: ({ peer, after, limit }) => ({ list: { peer, after, limit } }),
  offers: ({ offers, more, considered, fitting }) => ({
    offers: { offers: offers.map(writeOffer), more, considered, fitting },
  }),
  resolve: ({ produces, accepts, preferred }) => ({
    resolve: { produces: [...produces], accepts: [...accepts], preferred: [...preferred] },
  }),
  chain: ({ offers, gap, reason }) => ({
    chain: {
      offers: offers.map(writeOffer),
      gap: GAPS.indexOf(gap),
      reason: printable(reason, MAX_TEXT_BYTES),
    },
  }),
  summarise: ({ prefixes }) => ({ summarise: { prefixes: [...prefixes] } }),
  summary: ({ prefix, nodes, more }) => ({ summary: { prefix, nodes: [...nodes], more } }),
  enumerate: ({ prefixes }) => ({ enumerate: { prefixes: [...prefixes] } }),
  entries: ({ entries, more }) => ({ entries: { entries: packEntries(entries), more } }),
  fetch: ({ positions }) => ({ fetch: { positions: Buffer.concat(positions) } }),
  refused: ({ code, message }) => ({
    refused: { code: ERRORS[code].wire, message: printable(message, MAX_TEXT_BYTES) },
  }),
}

type Readers = {
  readonly [K in WireName]: (message: NonNullable<WireFrame[K]>) => CatalogMessage
}

const READERS: Readers = {
  publish: ({ offers }) => ({ kind: 'publish', offers: readOffers(offers ?? [], 1) }),
  published: ({ verdicts }) => {
    const read = list('Verdicts', verdicts ?? [], MAX_OFFERS_PER_FRAME, readVerdict)
    if (read.length === 0) throw violation('Published holds no verdict')
    return { kind: 'published', verdicts: read }
  },
  query: ({ request, limit, failing }) => ({
    kind: 'query',
    request: readRequest(request ?? {}),
    limit: readLimit(limit),
    failing: integer('Limit of failing offers', failing ?? 0, 0, MAX_OFFERS_PER_ANSWER),
  }),
  watch: ({ request, limit }) => ({
    kind: 'watch',
    request: readRequest(request ?? {}),
    limit: readLimit(limit),
  }),
  list: ({ peer, after, limit }) => {
    if (peer && !isPeerId(peer)) throw violation('Provider is not an Ed25519 peer ID')
    return {
      kind: 'list',
      peer: peer ?? '',
      ...(after && after.length > 0 && { after: fixedBytes('Position', after, OFFER_POSITION_BYTES) }),
      limit: readLimit(limit),
    }
  },
  offers: ({ offers, more, considered, fitting }) => ({
    kind: 'offers',
    offers: readOffers(offers ?? [], 0),
    more: more ?? false,
    considered: considered ?? 0,
    fitting: fitting ?? 0,
  }),
  resolve: ({ produces, accepts, preferred }) => ({
    kind: 'resolve',
    produces: readKinds('Produced', produces ?? []),
    accepts: readKinds('Accepted', accepts ?? []),
    preferred: list('Preferred', preferred ?? [], MAX_LISTED, (_, peer) => {
      if (!isPeerId(peer)) throw violation('Preferred host is not an Ed25519 peer ID')
      return peer
    }),
  }),
  chain: ({ offers, gap, reason }) => {
    const found = GAPS[integer('Gap', gap ?? 0, 0, GAPS.length - 1)]
    integer('Length of a chain', offers?.length ?? 0, 0, MAX_CHAIN_STEPS)
    return {
      kind: 'chain',
      offers: readOffers(offers ?? [], 0),
      ...(found && { gap: found }),
      reason: text('Reason', reason ?? '', MAX_TEXT_BYTES),
    }
  },
  summarise: ({ prefixes }) => ({
    kind: 'summarise',
    prefixes: readPrefixes(prefixes ?? [], MAX_SUMMARY_PREFIXES, MAX_PREFIX_BYTES - 1),
  }),
  summary: ({ prefix, nodes, more }) => {
    const parent = boundedBytes('Prefix', prefix ?? new Uint8Array(), 0, MAX_PREFIX_BYTES - 1)
    return {
      kind: 'summary',
      prefix: parent,
      nodes: readNodes(parent, nodes ?? []),
      more: more ?? false,
    }
  },
  enumerate: ({ prefixes }) => ({
    kind: 'enumerate',
    prefixes: disjoint(readPrefixes(prefixes ?? [], MAX_ENTRY_PREFIXES, MAX_PREFIX_BYTES)),
  }),
  entries: ({ entries, more }) => ({
    kind: 'entries',
    entries: unpackEntries(entries ?? new Uint8Array()),
    more: more ?? false,
  }),
  fetch: ({ positions }) => {
    const packed = wholes('Positions', positions ?? new Uint8Array(), OFFER_POSITION_BYTES)
    if (packed.length === 0) throw violation('Fetch names no position')
    return { kind: 'fetch', positions: packed.map((position) => Uint8Array.from(position)) }
  },
  refused: ({ code, message }) => ({
    kind: 'refused',
    code: codeOfWire(code ?? 0),
    message: text('Refusal', message ?? '', MAX_TEXT_BYTES),
  }),
}

function writeOffer({ body, signature }: SignedOffer): fluidcloud.catalog.v1.SignedOffer.$Properties {
  return { body, signature }
}

function readOffers(
  offers: readonly fluidcloud.catalog.v1.SignedOffer.$Properties[],
  min: number,
): SignedOffer[] {
  if (offers.length < min) throw violation('Publish holds no offer')
  return list('Offers', offers, MAX_OFFERS_PER_FRAME, (_, { body, signature }) => ({
    body: Uint8Array.from(body ?? []),
    signature: Uint8Array.from(signature ?? []),
  }))
}

function readVerdict(_: string, verdict: fluidcloud.catalog.v1.Verdict.$Properties): Verdict {
  return {
    outcome: outcomeOf(verdict.outcome ?? 0),
    message: text('Verdict', verdict.message ?? '', MAX_TEXT_BYTES),
  }
}

function outcomeOf(wire: number): Outcome {
  for (const [outcome, number] of Object.entries(OUTCOMES)) if (number === wire) return outcome as Outcome
  throw violation(`Outcome ${wire} is not known to this version`)
}

function readKinds(name: string, kinds: readonly string[]): string[] {
  if (kinds.length === 0) throw violation(`${name} names nothing`)
  return list(name, kinds, MAX_LISTED, token)
}

function readLimit(limit: number | null | undefined): number {
  return integer('Limit', limit ?? 0, 1, MAX_OFFERS_PER_ANSWER)
}

function readPrefixes(prefixes: readonly Uint8Array[], maxCount: number, maxBytes: number): Uint8Array[] {
  if (prefixes.length === 0) throw violation('Request names no prefix')
  return list('Prefixes', prefixes, maxCount, (name, prefix) => boundedBytes(name, prefix, 0, maxBytes))
}

/** None begins with another: what is below one is collected once, however much is asked for. */
function disjoint(prefixes: Uint8Array[]): Uint8Array[] {
  const sorted = prefixes.map((prefix) => Buffer.from(prefix).toString('hex')).toSorted()
  if (sorted.some((prefix, at) => at > 0 && prefix.startsWith(sorted[at - 1])))
    throw violation('A prefix begins with another')
  return prefixes
}

function readNodes(
  parent: Uint8Array,
  nodes: readonly fluidcloud.catalog.v1.Node.$Properties[],
): SummaryNode[] {
  let last = -1
  return list('Nodes', nodes, MAX_NODES, (_, { prefix, entries, digest }) => {
    const own = fixedBytes('Prefix of a node', prefix ?? new Uint8Array(), parent.length + 1)
    if (Buffer.compare(own.subarray(0, parent.length), parent) !== 0)
      throw violation('Node is not below the prefix')
    if (own[parent.length] <= last) throw violation('Nodes are not ascending')
    last = own[parent.length]
    return {
      prefix: own,
      entries: integer('Entries below a node', entries ?? 0, 1, MAX_UINT32),
      digest: fixedBytes('Digest of a node', digest ?? new Uint8Array(), NODE_DIGEST_BYTES),
    }
  })
}

function packEntries(entries: readonly Entry[]): Uint8Array {
  const packed = Buffer.alloc(entries.length * ENTRY_BYTES)
  for (const [i, { position, sequence }] of entries.entries())
    writeEntry(packed, i * ENTRY_BYTES, position, sequence)
  return packed
}

/** One entry: 24 bytes at `at`. */
function writeEntry(into: Buffer, at: number, position: Uint8Array, sequence: number): void {
  into.set(position, at)
  into.writeBigUInt64LE(BigInt(sequence), at + OFFER_POSITION_BYTES)
}

/** Ascending, so that a position comes once. */
function unpackEntries(bytes: Uint8Array): Entry[] {
  let last: Uint8Array | undefined
  return wholes('Entries', bytes, ENTRY_BYTES).map((entry) => {
    const position = Uint8Array.from(entry.subarray(0, OFFER_POSITION_BYTES))
    if (last && Buffer.compare(last, position) >= 0) throw violation('Entries are not ascending')
    last = position
    const sequence = Number(entry.readBigUInt64LE(OFFER_POSITION_BYTES))
    return { position, sequence: integer('Sequence number', sequence, 1, Number.MAX_SAFE_INTEGER) }
  })
}

/** Items of `size` bytes, views of `bytes`. */
function wholes(name: string, bytes: Uint8Array, size: number): Buffer[] {
  if (bytes.length % size !== 0) throw violation(`${name} of ${bytes.length} bytes are not whole`)
  const count = integer(`Number of ${name.toLowerCase()}`, bytes.length / size, 0, MAX_ENTRIES_PER_FRAME)
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: count }, (_, i) => buffer.subarray(i * size, (i + 1) * size))
}
