/** Messages of the catalogue, decoded and validated. Their meaning: catalog.md; their limits: limits.ts. */
import type { ErrorCode } from './errors.ts'

/** An offer as it is kept, handed on and gossiped: the exact bytes that its provider signed. */
export interface SignedOffer {
  /** An encoded Offer; see catalog-offer.ts. */
  readonly body: Uint8Array
  /** 64 bytes, by the peer that the body names. */
  readonly signature: Uint8Array
}

/** What a provider has, until when, and what it asks for it. Names together with `peer`: `id`. */
export interface Offer {
  /** 16 random bytes, as lower-case hex. */
  readonly id: string
  /** Ed25519 peer ID of the provider. */
  readonly peer: string
  /** Grows with every version of the offer; 1 or more. */
  readonly sequence: number
  /** Unix times in milliseconds, by the provider's clock. */
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  /** True for a tombstone: the offer is taken back, and everything below is empty. */
  readonly withdrawn: boolean
  /** For people. */
  readonly provider: string
  readonly place: Place
  readonly cloud: Cloud
  readonly capacity: Capacity
  readonly price?: Price
  readonly migrators: readonly MigratorSpec[]
  /** Multiaddrs of the provider. */
  readonly addresses: readonly string[]
}

export interface Place {
  /** The provider's own word; or empty. */
  readonly region: string
  /** ISO 3166 code, such as CH or US-CA, or EU; or empty. */
  readonly jurisdiction: string
}

export interface Cloud {
  /** qemu, openstack...; or empty. */
  readonly kind: string
  /** Disk images that can be put there. */
  readonly formats: readonly string[]
  readonly features: readonly string[]
  readonly certifications: readonly string[]
}

/** What is free; 0: none, or not told. */
export interface Capacity {
  readonly vcpus: number
  readonly memoryBytes: number
  readonly storageBytes: number
  /** Of one volume; 0: no limit but storageBytes. */
  readonly maxVolumeBytes: number
}

/** Amounts in millionths of the currency; what is 0 is not charged. */
export interface Price {
  /** ISO 4217. */
  readonly currency: string
  readonly vcpuHourMicros: number
  readonly memoryGibHourMicros: number
  readonly storageGibMonthMicros: number
  readonly egressGibMicros: number
  readonly ingressGibMicros: number
}

/** A Migrator a provider hosts: it makes each of what it produces out of any one of what it accepts. */
export interface MigratorSpec {
  readonly name: string
  readonly version: string
  readonly accepts: readonly string[]
  readonly produces: readonly string[]
}

/** What a service needs, wants and has. */
export interface MatchRequest {
  readonly need: Need
  readonly want: Want
  readonly have: Have
}

/** Hard constraints; 0, empty and false: no such need. */
export interface Need {
  readonly vcpus: number
  readonly memoryBytes: number
  readonly storageBytes: number
  /** The largest volume of the service. */
  readonly maxVolumeBytes: number
  /** One of these. */
  readonly formats: readonly string[]
  /** All of these. */
  readonly features: readonly string[]
  /** One of these. */
  readonly jurisdictions: readonly string[]
  /** All of these. */
  readonly certifications: readonly string[]
  /** Reached without a relay. */
  readonly direct: boolean
}

/** Weights of the soft goals; 0: of no interest. */
export interface Want {
  readonly price: number
  readonly egress: number
  readonly moveTime: number
  readonly rtt: number
  readonly outcomes: number
}

/** What the source knows. */
export interface Have {
  /** To move. */
  readonly allocatedBytes: number
  /** What leaving the source costs, for each GiB, in millionths. */
  readonly egressGibMicros: number
  /** Of that, and the one to compare prices in; or empty: the one most offers name. */
  readonly currency: string
}

/** What became of a published offer. All but the first two are refusals. */
export type Outcome =
  | 'kept'
  | 'held'
  | 'oversized'
  | 'malformed'
  | 'forged'
  | 'replayed'
  | 'expired'
  | 'early'
  | 'lease'
  | 'crowded'
  | 'hasty'

export interface Verdict {
  readonly outcome: Outcome
  /** For people. */
  readonly message: string
}

/** Why no chain leads there: nothing takes what the source has, nothing makes what the target takes, or they never meet. */
export type ChainGap = 'source' | 'target' | 'between'

/** All entries below a prefix of positions, in one digest. */
export interface SummaryNode {
  readonly prefix: Uint8Array
  readonly entries: number
  /** 16 bytes; see catalog.md, Replication. */
  readonly digest: Uint8Array
}

/** One version of one offer, by where it lies. */
export interface Entry {
  /** 16 bytes; see offerPosition(). */
  readonly position: Uint8Array
  readonly sequence: number
}

/** The requests of a stream, which are answered in order. */
export type CatalogRequest =
  | { readonly kind: 'publish'; readonly offers: readonly SignedOffer[] }
  | {
      readonly kind: 'query'
      readonly request: MatchRequest
      readonly limit: number
      readonly failing: number
    }
  | { readonly kind: 'watch'; readonly request: MatchRequest; readonly limit: number }
  | {
      readonly kind: 'list'
      /** Of this provider only; or empty. */
      readonly peer: string
      /** Position of the last one seen, absent at the start. */
      readonly after?: Uint8Array
      readonly limit: number
    }
  | {
      readonly kind: 'resolve'
      readonly produces: readonly string[]
      readonly accepts: readonly string[]
      /** Peer IDs whose Migrators are better than others': source and target. */
      readonly preferred: readonly string[]
    }
  | { readonly kind: 'summarise'; readonly prefixes: readonly Uint8Array[] }
  | { readonly kind: 'enumerate'; readonly prefixes: readonly Uint8Array[] }
  | { readonly kind: 'fetch'; readonly positions: readonly Uint8Array[] }

export type CatalogAnswer =
  | { readonly kind: 'published'; readonly verdicts: readonly Verdict[] }
  | {
      readonly kind: 'offers'
      readonly offers: readonly SignedOffer[]
      /** Another frame of this answer follows. */
      readonly more: boolean
      /** Of a query or watch: offers that were matched, and how many of them fit. */
      readonly considered: number
      readonly fitting: number
    }
  | {
      readonly kind: 'chain'
      /** Those that host it, each once, in the order of the steps. */
      readonly offers: readonly SignedOffer[]
      /** Why there is none. */
      readonly gap?: ChainGap
      readonly reason: string
    }
  | {
      readonly kind: 'summary'
      readonly prefix: Uint8Array
      readonly nodes: readonly SummaryNode[]
      readonly more: boolean
    }
  | { readonly kind: 'entries'; readonly entries: readonly Entry[]; readonly more: boolean }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string }

export type CatalogMessage =
  | CatalogRequest
  | CatalogAnswer
  /** A message of a later minor. */
  | { readonly kind: 'unknown' }

export type CatalogMessageOf<K extends CatalogMessage['kind']> = Extract<CatalogMessage, { kind: K }>
