/** Peers, what they may do here, and the folders they find chunks in. Plain data only. */
import type { RelocateGrant } from '../../protocol/relocate-grant.ts'

export interface GrantReport {
  readonly folder: string
  /** 0: no limit but the disk. */
  readonly maxBytes: number
  readonly approve: 'auto' | 'ask'
  /** Names that stand for devices or exports the owner opened to this peer. */
  readonly targets: Readonly<Record<string, string>>
  /** Services that may be relocated to this agent; absent: none. */
  readonly relocate?: RelocateGrant
}

export interface PeerReport {
  readonly peer: string
  readonly name: string
  readonly pairedAt: string
  readonly connected: boolean
  /** How it is connected now. */
  readonly reached?: 'direct' | 'webrtc' | 'relay'
  /** The multiaddr of that connection. */
  readonly remoteAddr?: string
  readonly addrs: readonly string[]
  /** What the peer may do here; undefined: paired, but nothing is allowed. */
  readonly grant?: GrantReport
  /** What the peer said we may do there. */
  readonly granted?: { readonly write: boolean; readonly maxBytes: number; readonly ask: boolean }
}

export interface PendingReport {
  readonly peer: string
  readonly name: string
  readonly direction: 'in' | 'out'
  readonly since: string
}

/** Where a peer is, as others say. */
export interface FindReport {
  readonly peer: string
  /** Multiaddrs with /p2p/<peerId>; empty when nobody knows it. */
  readonly addrs: readonly string[]
}

export interface SeedReport {
  readonly folder: string
  readonly files: number
  readonly chunks: number
  readonly bytes: number
  readonly state: 'scanning' | 'ready'
}
