/** What NAT-PMP and UPnP have in common: a router that forwards ports for a while. */

/** One port that a router forwards. */
export interface Forwarded {
  /** Port of the router. */
  readonly outer: number
  /** Seconds until the router forgets it; 0: it does not. */
  readonly lifetimeS: number
}

/** A router that answered. */
export interface Forwarder {
  readonly kind: 'NAT-PMP' | 'UPnP'
  /** The router's own address outside. */
  externalHost(signal: AbortSignal): Promise<string>
  /** Has TCP `port` of this host forwarded, at the same port outside if that is free, or goes on with it. */
  forward(port: number, wanted: number, lifetimeS: number, signal: AbortSignal): Promise<Forwarded>
  /** Ends it. */
  remove(port: number, outer: number, signal: AbortSignal): Promise<void>
}
