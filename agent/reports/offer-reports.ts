/** Offers at brokers, and how they match a request. Plain data only. */
import type { ErrorCode } from '../../protocol/errors.ts'

/** What became of an offer at one broker. */
export interface OfferAtBroker {
  /** Peer ID. */
  readonly broker: string
  /** True when it holds this version now. */
  readonly taken: boolean
  /** What the broker found it to be; absent when there was no answer. */
  readonly outcome?: string
  /** Why it was not taken. */
  readonly code?: ErrorCode
  readonly message: string
  readonly hint?: string
}

/** An offer that this agent publishes. */
export interface OwnOfferReport {
  readonly offer: string
  readonly provider: string
  readonly file: string
  readonly expiresAt: string
  /** True as long as the agent renews it. */
  readonly renewed: boolean
  readonly brokers: readonly OfferAtBroker[]
}

/** An offer that a broker handed out, and that proved itself. */
export interface OfferReport {
  readonly offer: string
  readonly peer: string
  readonly provider: string
  readonly expiresAt: string
  readonly broker: string
  readonly region: string
  readonly jurisdiction: string
  readonly cloud: string
  /** True for this agent's own. */
  readonly own: boolean
}

/** A broker that did not answer. */
export interface BrokerFailureReport {
  readonly broker: string
  readonly code: ErrorCode
  readonly message: string
}

export interface OfferPage {
  readonly offers: readonly OfferReport[]
  readonly brokers: readonly string[]
  readonly failures: readonly BrokerFailureReport[]
}

type NeedValue = number | boolean | string | readonly string[] | null

/** Migrators from what the source has to what a candidate accepts. */
export interface ChainReport {
  /** Empty when there is no chain. */
  readonly steps: readonly {
    readonly from: string
    readonly to: string
    readonly migrator: string
    readonly version: string
    readonly peer: string
    readonly provider: string
    readonly offer: string
  }[]
  /** Why there is none. */
  readonly reason?: string
}

/** One offer under a request, explained. */
export interface CandidateReport {
  /** 1 is best; null: it fails a need. */
  readonly rank: number | null
  readonly peer: string
  readonly provider: string
  readonly offer: string
  /** 0 to 1. */
  readonly score: number
  /** 0 to 1 for each goal that has a weight. */
  readonly terms: Readonly<Record<string, number>>
  readonly weights: Readonly<Record<string, number>>
  /** What is odd or unknown about a term. */
  readonly notes?: Readonly<Record<string, string>>
  readonly cost: {
    readonly currency: string | null
    readonly moveOnce: number | null
    readonly perMonth: number | null
  }
  readonly etaSeconds: number
  readonly failed: readonly {
    readonly need: string
    readonly wanted: NeedValue
    readonly offered: NeedValue
  }[]
  /** Every need, met or not. */
  readonly needs: readonly {
    readonly need: string
    readonly wanted: NeedValue
    readonly offered: NeedValue
    readonly met: boolean
  }[]
  /** When it fails nothing but the formats. */
  readonly chain?: ChainReport
  readonly place: { readonly region: string; readonly jurisdiction: string }
  readonly addresses: readonly string[]
  readonly expiresAt: string
  /** The one that handed it out. */
  readonly broker: string
}

export interface MatchReport {
  readonly considered: number
  readonly fitting: number
  /** The one prices are compared in, or empty. */
  readonly currency: string
  readonly brokers: readonly string[]
  readonly failures: readonly BrokerFailureReport[]
  /** Best first, then those that fail. */
  readonly candidates: readonly CandidateReport[]
  /** Of a watch: the candidate is better than what was told before. */
  readonly better?: boolean
}
