/** Every protocol id. A new major is a new id served beside the old one. */

/** Negotiation and control of one relocation; see viaduct.md. */
export const VIADUCT_PROTOCOL = '/fluidcloud/viaduct/1.0.0'

/** Redeeming tickets and asking to be paired; see pairing.md. */
export const PAIRING_PROTOCOL = '/fluidcloud/pairing/1.0.0'

/** Chunk frames over a libp2p stream, when no socket connects; see chunks.md. */
export const CHUNKS_PROTOCOL = '/fluidcloud/chunks/1.0.0'

/** Offers, matching and replication of the Broker's catalogue; see catalog.md. */
export const CATALOG_PROTOCOL = '/fluidcloud/catalog/1.0.0'

/** Gossip of signed offers between brokers; see catalog.md, Gossip. */
export const CATALOG_TOPIC = '/fluidcloud/catalog/1.0.0/offers'

/** Relocation of running services: what the target is asked, and the right to run; see relocation.md. */
export const RELOCATION_PROTOCOL = '/fluidcloud/relocation/1.0.0'

/** libp2p's gossipsub, among brokers only; see catalog.md, Gossip. */
export const GOSSIP_PROTOCOL = '/fluidcloud/gossip/1.0.0'

/** The distributed directory: libp2p's Kademlia, among our own only. */
export const DIRECTORY_PROTOCOL = '/fluidcloud/kad/1.0.0'

/** At which UDP port a relay answers STUN (RFC 8489): it sends two bytes, big-endian, and closes. */
export const STUN_PROTOCOL = '/fluidcloud/stun/1.0.0'

/** Whether an agent's own ports can be reached from outside; see reach.md. */
export const REACH_PROTOCOL = '/fluidcloud/reach/1.0.0'

/** Where two agents that only a relay connects will connect to each other by TCP; see punch.md. */
export const PUNCH_PROTOCOL = '/fluidcloud/punch/1.0.0'

/** Version spoken inside the viaduct: an unknown major is refused, of two minors the lower is used. */
export const PROTOCOL_MAJOR = 1
export const PROTOCOL_MINOR = 2
/** From this minor on a lane compares the blocks of chunks; see chunks.md, Comparing blocks. */
export const BLOCKS_MINOR = 1
/** From this minor on a sender says that it is done when everything is sent; see viaduct.md, Sequence. */
export const COMPLETE_WHEN_SENT_MINOR = 2
/** To a peer of this minor an offer goes with the hello, ahead of its answer; see viaduct.md, Versions. */
export const OFFER_AHEAD_MINOR = 2
