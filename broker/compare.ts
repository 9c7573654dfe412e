/**
 * One broker learns what another holds and it does not: by descending where summaries differ, then fetching. What both
 * hold costs one digest a branch; what is fetched is examined like everything else. Spec: catalog.md, Replication.
 */
import type { SummaryNode } from '../protocol/catalog-message.ts'
import { violation } from '../protocol/field.ts'
import {
  MAX_CATALOG_OFFERS,
  MAX_ENTRIES_ENUMERATED_AT_ONCE,
  MAX_ENTRY_PREFIXES,
  MAX_POSITIONS_PER_FETCH,
  MAX_PREFIX_BYTES,
  MAX_SUMMARY_PREFIXES,
} from '../protocol/limits.ts'
import type { CatalogClient } from './catalog-client.ts'
import type { Catalog } from './catalog.ts'
import type { Share } from './shares.ts'

export interface Comparison {
  /** Versions that the other named and this broker did not know. */
  readonly missing: number
  /** Of these, kept here now. */
  readonly kept: number
}

/** Summaries one comparison asks for at most: a peer that makes them up does not keep it busy for ever. */
const MAX_SUMMARIES = 4096

/** Fetches into `catalog` what it lacks of the broker behind `client`. `wanted` may say no to some versions. */
export async function compare(
  client: CatalogClient,
  catalog: Catalog,
  options: {
    readonly signal?: AbortSignal
    readonly wanted?: (position: string, sequence: number) => boolean
    readonly onRefused?: (position: string, sequence: number) => void
    /** Where what is new is kept. */
    readonly share?: Share
  } = {},
): Promise<Comparison> {
  const { signal, wanted = () => true, onRefused, share } = options
  const differing = await differences(client, catalog, signal)
  const sequences = new Map<string, number>()
  for (let at = 0; at < differing.length; at += MAX_ENTRY_PREFIXES) {
    const prefixes = differing.slice(at, at + MAX_ENTRY_PREFIXES)
    for await (const entries of client.enumerate(prefixes, { signal })) {
      for (const { position, sequence } of entries) {
        const key = Buffer.from(position).toString('hex')
        if (!catalog.knows(key, sequence) && wanted(key, sequence)) sequences.set(key, sequence)
      }
      if (sequences.size > MAX_CATALOG_OFFERS)
        throw violation('The broker names more offers than any may hold')
    }
  }
  const positions = [...sequences.keys()]
  let kept = 0
  for (let at = 0; at < positions.length; at += MAX_POSITIONS_PER_FETCH) {
    const part = positions.slice(at, at + MAX_POSITIONS_PER_FETCH)
    const offers = await client.fetch(
      part.map((position) => Buffer.from(position, 'hex')),
      { signal },
    )
    const verdicts = await catalog.put(offers, 'fetched', share)
    kept += verdicts.filter(({ outcome }) => outcome === 'kept').length
    // There is no room for the rest either.
    if (offers.length > 0 && verdicts.every(({ outcome }) => outcome === 'crowded')) break
    for (const position of part) {
      const sequence = sequences.get(position)!
      if (!catalog.knows(position, sequence)) onRefused?.(position, sequence)
    }
  }
  return { missing: positions.length, kept }
}

/** Prefixes below which the other broker holds something else, each with few entries. */
async function differences(
  client: CatalogClient,
  catalog: Catalog,
  signal: AbortSignal | undefined,
): Promise<Uint8Array[]> {
  const found: Uint8Array[] = []
  const open: Uint8Array[] = [new Uint8Array()]
  for (let asked = 0; open.length > 0;) {
    const prefixes = open.splice(0, MAX_SUMMARY_PREFIXES)
    asked += prefixes.length
    if (asked > MAX_SUMMARIES) throw violation('The broker summarises without end')
    const summaries = await client.summarise(prefixes, { signal })
    for (const [at, prefix] of prefixes.entries()) {
      const ours = new Map(
        catalog.index.children(Buffer.from(prefix).toString('hex')).map((node) => [node.prefix, node.digest]),
      )
      for (const node of summaries[at]) {
        if (isSame(node, ours.get(Buffer.from(node.prefix).toString('hex')))) continue
        const descends =
          node.entries > MAX_ENTRIES_ENUMERATED_AT_ONCE && node.prefix.length < MAX_PREFIX_BYTES
        ;(descends ? open : found).push(node.prefix)
      }
    }
  }
  return found
}

function isSame({ digest }: SummaryNode, ours: Uint8Array | undefined): boolean {
  return ours !== undefined && Buffer.compare(digest, ours) === 0
}
