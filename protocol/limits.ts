/** Every bound: message sizes, windows, queues, waits. The unit is in the name. */

const KiB = 1024
const MiB = 1024 * KiB

// What moves.

/** Largest volume: 2^53 - 1 would be exact in a number; 4 PiB leaves room for sums. */
export const MAX_VOLUME_BYTES = 2 ** 52
/** Unit of holes: a run of zeros shorter than this is data. The block size of common file systems. */
export const HOLE_BLOCK_BYTES = 4 * KiB
/** In which a chunk is compared with an older version of it; see chunks.md, Comparing blocks. */
export const BLOCK_BYTES = 4 * KiB
/** Data bytes of one window, and the boundary at which chunking always restarts. */
export const WINDOW_BYTES = 4 * MiB
/** Bounds of a content-defined chunk; the mean is near AVG. */
export const CHUNK_MIN_BYTES = 32 * KiB
export const CHUNK_AVG_BYTES = 64 * KiB
export const CHUNK_MAX_BYTES = 256 * KiB
/** Most chunks in one window: every block its own chunk. */
export const MAX_WINDOW_CHUNKS = WINDOW_BYTES / HOLE_BLOCK_BYTES
/** Blocks of all chunks of a window: those of its data, and one more for each chunk that begins within one. */
export const MAX_WINDOW_BLOCKS = WINDOW_BYTES / BLOCK_BYTES + MAX_WINDOW_CHUNKS

// Lanes.

/** Raw bytes of chunks in one data frame. */
export const DATA_FRAME_BYTES = 1 * MiB
/** Protobuf header of a lane frame. */
export const MAX_LANE_HEADER_BYTES = 16 * KiB
/** Payload of a lane frame: a data frame that did not shrink, or the chunk list of a window. */
export const MAX_LANE_PAYLOAD_BYTES = DATA_FRAME_BYTES + 64 * KiB
/** Of chunks that a far receiver takes unasked on each lane: what its first round trip carries, a chunk or two. */
export const UNASKED_BYTES = 128 * KiB
/** Windows a sender keeps in memory for each lane, and a receiver accepts unanswered or unfinished. */
export const WINDOWS_PER_LANE = 4
/** Nearby a sender keeps so many: an answer comes while the next is read, and of many jobs the memory is what costs. */
export const NEAR_WINDOWS = 2
/** Data frames of a lane that a disk writes at a time: it never waits for the next, nor the lane for a disk that is far away. */
export const WRITES_UNDER_WAY = 2
/** Placed windows of a lane that the main thread has not noted: beyond, the lane reads no more. 64 take an honest one 0.1 s at least. */
export const MAX_UNNOTED_WINDOWS = 64
/**
 * Separate ranges that a receiver keeps of a volume, at 16 bytes each. Windows come about in order, so the lanes leave few gaps;
 * rounds renew MAX_RANGES_PER_FRAME ranges at a time, and eight of them may have been cut short.
 */
export const MAX_SEPARATE_RANGES = 32_768
/** Windows a sender hands to all lanes of a job together: with more than 16 lanes, each has fewer. */
export const MAX_JOB_WINDOWS = 64
/**
 * Windows that a sender handed out and no checkpoint named, at some 3 KiB each: beyond, it hands out none. 16 GiB are 8 s of
 * 2 GiB/s for a disk that hesitates, and reach one of 60 MB/s within PROGRESS_TIMEOUT_MS.
 */
export const MAX_UNACKNOWLEDGED_WINDOWS = 4096
/** Windows a sender knows of before it hands them out, so that it sees the end come. */
export const WINDOWS_AHEAD = 256
/** Lanes of one job. */
export const MAX_LANES = 64
export const DEFAULT_LANES = 4
/** Up to so many a near job adds where there are cores for them: 16 brought no more, since they write one file. */
export const NEAR_LANES = 8
/** Up to here one lane's window is no limit: 4 MiB, the kernel's usual most, at 8 ms is 500 MiB/s. */
export const NEAR_ROUND_TRIP_MS = 8
/** Lanes this agent agrees to: each costs it up to INCOMING_LANE_BYTES of memory. */
export const MAX_LANES_ACCEPTED = 48
/** Time for a lane to connect and prove itself. */
export const LANE_CONNECT_TIMEOUT_MS = 5_000
/** A lane on which nothing moves for this long while something is owed is broken. */
export const LANE_STALL_TIMEOUT_MS = 30_000
/** Offences (bad digest, length, order) after which the viaduct itself is ended. */
export const MAX_LANE_OFFENCES = 3

// Viaduct control stream.

export const MAX_CONTROL_FRAME_BYTES = 256 * KiB
/** Control frames a peer may send in a second, on average, before it is a flood. */
export const MAX_CONTROL_FRAMES_PER_SECOND = 200
export const HANDSHAKE_TIMEOUT_MS = 15_000
/** Silence on the control stream after which the peer is gone; heartbeats come four times as often. */
export const CONTROL_SILENCE_TIMEOUT_MS = 20_000
/** Ranges in one checkpoint or resume message. */
export const MAX_RANGES_PER_FRAME = 4096
/** Bytes of names: destinations, labels, reasons. */
export const MAX_NAME_BYTES = 255
export const MAX_TEXT_BYTES = 1024
export const MAX_REASONS = 16
export const MAX_ADDRESSES = 16

// Durability.

/** A checkpoint is written when this much was placed since the last one, or after CHECKPOINT_INTERVAL_MS. */
export const CHECKPOINT_BYTES = 32 * MiB
export const CHECKPOINT_INTERVAL_MS = 500

// Retries.

export const RETRY_FIRST_MS = 100
/** Cap of the wait between attempts during the first RETRY_EAGER_FOR_MS, and after it. */
export const RETRY_EAGER_CAP_MS = 1_000
export const RETRY_EAGER_FOR_MS = 10 * 60_000
export const RETRY_CAP_MS = 30_000
/** Full passes over a source that keeps changing before the job stops. */
export const MAX_RESCANS = 3

// Pairing.

export const TICKET_SECRET_BYTES = 32
export const MAX_TICKET_CHARS = 2048
export const MAX_PENDING_PAIRINGS = 64
export const PAIRING_TIMEOUT_MS = 10_000

// Local control socket.

export const MAX_SOCKET_LINE_BYTES = 1 * MiB
export const MAX_JOBS_RUNNING = 8
export const PROGRESS_INTERVAL_MS = 200

// Storage backends.

/** Longest extent a source or sink names at once. */
export const MAX_EXTENT_BYTES = 1024 * MiB
/** Payload of one NBD read or write; servers take up to 32 MiB, and small ones cut across requests better. */
export const NBD_REQUEST_BYTES = 1 * MiB
/** One NBD write-zeroes or trim: a server without hardware help may write it all before it answers. */
export const NBD_ZERO_BYTES = 128 * MiB
/** One NBD block status request. */
export const NBD_STATUS_BYTES = 1024 * MiB
/** Reply chunks that carry no payload of the volume: option replies and messages; and lists of extents (nbdkit: 2^20 of 8 bytes). */
export const MAX_NBD_OPTION_BYTES = 64 * KiB
export const MAX_NBD_STATUS_BYTES = 8 * MiB + 4
/** Replies to one option, and data chunks in the reply to one read. */
export const MAX_NBD_REPLIES = 4096
/** Ranges read of one dirty bitmap; where there are more, small gaps between them count as dirty. */
export const MAX_DIRTY_RANGES = 262_144
export const NBD_CONNECT_TIMEOUT_MS = 10_000
/** An NBD server that owes an answer and sends nothing for this long is gone. */
export const NBD_STALL_TIMEOUT_MS = 30_000
/** qemu-nbd: time to open the image and listen, and to flush and end. */
export const QEMU_START_TIMEOUT_MS = 15_000
export const QEMU_STOP_TIMEOUT_MS = 60_000
/** Images in a chain of backing files. */
export const MAX_BACKING_CHAIN = 64
/** Bytes of a whole destination name, sub-folders included. */
export const MAX_DESTINATION_BYTES = 1024
/** Calls one client of the control socket may have open at once; the next is refused. */
export const MAX_SOCKET_CALLS = 64
/** Clients of the control socket at once. */
export const MAX_SOCKET_CLIENTS = 128
/** Time for the agent to answer a connect on its control socket; it is a local socket. */
export const SOCKET_CONNECT_TIMEOUT_MS = 2_000
/** How long a command that follows a job waits for a restarted agent before it gives up. */
export const FOLLOW_RECONNECT_MS = 15_000

// Fields of fixed or bounded size.

/** Job ids, lane tokens, ticket ids: random, so 16 bytes never meet by chance. */
export const JOB_ID_BYTES = 16
export const TOKEN_BYTES = 16
export const TICKET_ID_BYTES = 16
/** BLAKE3. */
export const DIGEST_BYTES = 32
/** Ed25519. */
export const SIGNATURE_BYTES = 64
/** DER of a lane certificate; ours are about 400 bytes. */
export const MAX_CERTIFICATE_BYTES = 4096
/** Bytes of a peer ID as text; an Ed25519 one has 52. */
export const MAX_PEER_ID_BYTES = 128
/** Chunkings, codecs, lanes, formats one side may list. */
export const MAX_LISTED = 16
/** An encoded agreement or receipt. */
export const MAX_SIGNED_BODY_BYTES = 16 * KiB
export const MAX_PAIRING_FRAME_BYTES = 4 * KiB

// Lane sockets and lanes over libp2p streams.

/** Most bytes read from a socket before it has shown a whole ClientHello; ours are about 1.5 KiB. */
export const MAX_CLIENT_HELLO_BYTES = 16 * KiB
/** Time for a socket to show its ClientHello. */
export const CLIENT_HELLO_TIMEOUT_MS = 5_000
/** Sockets that have not shown their ClientHello, in all and from one address; the oldest gives way to a newer one. */
export const MAX_WAITING_SOCKETS = 256
export const MAX_WAITING_SOCKETS_PER_ADDRESS = MAX_LANES
/** Bytes on their way between a lane worker and the thread that owns the libp2p stream, each way. */
export const LANE_PORT_CREDIT_BYTES = 4 * MiB
/** One message on a libp2p stream: a Noise record holds 65,519 bytes, yamux's header included. */
export const LANE_STREAM_MESSAGE_BYTES = 60 * KiB
/** Read ahead of a paused libp2p stream before it is reset: above the largest yamux window (16 MiB), which is what holds the peer. */
export const LANE_STREAM_BUFFER_BYTES = 20 * MiB

// Mesh node.

/** Connections of all peers together. */
export const MAX_MESH_CONNECTIONS = 300
/** Pings at once on a connection: libp2p's own, those of its meter, of doctor, and whether WebRTC is alive. */
export const MAX_PINGS = 4
/** Pings of yamux on a connection, at once and in a second from then on: an honest peer sends one in 30 s. */
export const YAMUX_PING_BURST = 64
export const YAMUX_PINGS_PER_SECOND = 8
/**
 * Frames of yamux without data that wait for a line that takes nothing, at some 500 bytes each: an honest peer has one for each
 * half window it sent, and four for each of its streams.
 */
export const MAX_BARE_FRAMES_UNSENT = 8192
/** TCP has so long before WebRTC is tried: a line may swallow it and say nothing. */
export const TCP_DIAL_TIMEOUT_MS = 3_000
/** To connect by WebRTC, all addresses of a peer together, before other ways are tried. */
export const WEBRTC_DIAL_TIMEOUT_MS = 5_000
/** A connection over UDP that does not answer for so long is dead, when its peer has opened another. */
export const WEBRTC_PROBE_TIMEOUT_MS = 2_000
/** Inbound connections of one host in a second: several agents live on one machine, and all come back after a restart. */
export const MAX_HOST_CONNECTIONS_PER_SECOND = 64
/** Inbound connections that have not finished their handshake; of more, the host with the most gives way. */
export const MAX_UPGRADING_CONNECTIONS = 64
/** Connections of strangers from one host, out of MAX_PENDING_PAIRINGS. */
export const MAX_HOST_STRANGERS = 16
/** Failed attempts to be paired from one host in a minute, before it is refused unheard. */
export const MAX_PAIRING_FAILURES_PER_MINUTE = 10
/** Wrong secrets after which a ticket is void. */
export const MAX_TICKET_FAILURES = 8
/** Uses of one ticket. */
export const MAX_TICKET_USES = 1000

/** Most a benchmark sends: enough to fill a 100 Gb/s line for five seconds. */
export const MAX_BENCH_BYTES = 64 * 1024 * MiB

/** Jobs an agent remembers; the oldest that are over are forgotten first. */
export const MAX_JOBS_KEPT = 1000
/** Of these, jobs that one peer began here: it cannot push what others did out of the list. */
export const MAX_JOBS_KEPT_PER_PEER = 250
/** Jobs of one peer here that are not over; each may hold staged data. */
export const MAX_OPEN_JOBS_PER_PEER = 64

// What one peer may hold, and what all of them together may.

/**
 * An attempt in which something is owed and nothing moves, on lanes or in words, for this long is over. Above the
 * longest sync of a slow disk, and above what one data frame takes at 4 KiB/s.
 */
export const PROGRESS_TIMEOUT_MS = 5 * 60_000
/** Memory of all attempts that receive, together and of one peer: of lanes, tables of recent chunks, journals of benchmarks. */
export const MAX_INCOMING_BYTES = 1280 * MiB
export const MAX_INCOMING_BYTES_PER_PEER = 640 * MiB
/** Most memory a receiving lane takes: frames, what is read again, what is decoded. */
export const INCOMING_LANE_BYTES = 10 * MiB
/** Volumes a peer may have read again in a minute, and requests of it that may wait: they are answered one at a time. */
export const MAX_VERIFIES_PER_MINUTE = 20
export const MAX_VERIFIES_WAITING = 4

// Catalogue.

/** An encoded offer, without its signature. */
export const MAX_OFFER_BYTES = 16 * KiB
/** Random, chosen by the provider. */
export const OFFER_ID_BYTES = 16
/** Where an offer lies in the catalogue: the start of a BLAKE3 digest. */
export const OFFER_POSITION_BYTES = 16
/** Longest lease: a provider that is gone is gone from every catalogue a day later. */
export const MAX_LEASE_MS = 24 * 60 * 60_000
export const DEFAULT_LEASE_MS = 60 * 60_000
/** How far ahead a provider's clock may be. */
export const MAX_CLOCK_SKEW_MS = 2 * 60_000
export const MAX_MIGRATORS = 32
/** Migrators in one chain: each is a pass over the data, and a host that may fail. */
export const MAX_CHAIN_STEPS = 8
/** Features, and certifications, of one offer or request. */
export const MAX_QUALITIES = 32
/** Jurisdictions a request may name. */
export const MAX_JURISDICTIONS = 64
export const MAX_VCPUS = 1_000_000
/** One amount of a price: a million of the currency. */
export const MAX_PRICE_MICROS = 10 ** 12
/** Weight of one thing a request wants. */
export const MAX_WEIGHT = 1000
export const MAX_CATALOG_FRAME_BYTES = 256 * KiB
/** Offers in one frame, and in the answer to one query or list. */
export const MAX_OFFERS_PER_FRAME = 256
export const MAX_OFFERS_PER_ANSWER = 256
/** Prefixes in one request for summaries, and in one for entries. */
export const MAX_SUMMARY_PREFIXES = 16
export const MAX_ENTRY_PREFIXES = 256
/** Bytes of the longest prefix whose entries can be named: below it are few, even of millions. */
export const MAX_PREFIX_BYTES = 4
/** Entries, and positions to fetch, in one frame. */
export const MAX_ENTRIES_PER_FRAME = 4096

// The directory, which strangers may speak where it is served.

/** Connections of strangers, all and from one host, and how long one lasts. */
export const MAX_DIRECTORY_CONNECTIONS = 128
export const MAX_DIRECTORY_HOST_CONNECTIONS = 48
export const DIRECTORY_CONNECTION_MS = 60_000
/** Streams that one connection may have open, and open in a second, on average and at once; all strangers together: four times that. */
export const MAX_DIRECTORY_STREAMS = 32
export const DIRECTORY_STREAMS_PER_SECOND = 50
export const DIRECTORY_STREAM_BURST = 200
/** Bytes of the questions on one stream: an announcement with all addresses takes 1 KiB. */
export const DIRECTORY_QUESTION_BYTES = 4 * KiB
/** Bytes of the answers on one stream: 40 peers with all addresses take 30 KiB. */
export const DIRECTORY_ANSWER_BYTES = 64 * KiB
/** Strangers dialed in a second, on average and at once. */
export const DIRECTORY_DIALS_PER_SECOND = 20
export const DIRECTORY_DIAL_BURST = 200
/** Strangers in the address book of whom others told, and who announced themselves under one key. */
export const MAX_DIRECTORY_HEARD = 1024
export const MAX_DIRECTORY_PROVIDERS = 128
/** Peers looked for at once; the others wait. */
export const MAX_DIRECTORY_LOOKUPS = 4
/** Time to find a peer, and addresses that are tried for it. */
export const DIRECTORY_FIND_TIMEOUT_MS = 10_000
export const MAX_DIRECTORY_ADDRESSES = 64
/** Relays: connections that one peer may have carried at once, and all together; how often lost places are taken again. */
export const MAX_RELAYED_PER_PEER = 16
export const MAX_RELAY_STREAMS = 64
export const RELAY_CHECK_MS = 5_000
/** How often an agent that nobody can dial looks for relays in the directory; places it keeps there, and strangers it asks in one search. */
export const RELAY_FIND_MS = 60_000
export const MAX_FOUND_RELAYS = 2
export const MAX_RELAYS_TRIED = 8
/** Peers whose bytes a relay counts; and when counts are written down: what a crash may forget. */
export const MAX_RELAY_ACCOUNTS = 4096
export const RELAY_SAVE_MS = 5_000
export const RELAY_SAVE_BYTES = 64 * MiB
/** What is left of a quota is used up when it is less: a connection that is cut while both greet brings nobody anything. */
export const RELAY_LEAST_BYTES = 64 * KiB
/** STUN at a relay: answers to all hosts together, and relays that are asked for their port, and how long. */
export const STUN_ANSWERS_PER_SECOND = 50
export const STUN_ANSWER_BURST = 100
export const MAX_STUN_RELAYS = 3
export const STUN_ASK_TIMEOUT_MS = 1_500
/** Being reached: how long one try of a peer's port lasts, and the whole answer. */
export const REACH_DIAL_TIMEOUT_MS = 3_000
export const REACH_ANSWER_TIMEOUT_MS = 8_000
/** What one paired peer may ask, on average and at once, and how many are answered at a time. */
export const REACH_ANSWERS_PER_SECOND = 1 / 60
export const REACH_ANSWER_BURST = 6
export const MAX_REACH_ANSWERS = 4
/** How often peers are looked through, how often one that stays connected is asked, how long what it said counts, and of how many it is kept. */
export const REACH_LOOK_INTERVAL_MS = 60_000
export const REACH_ASK_INTERVAL_MS = 10 * 60_000
export const REACH_VALID_MS = 60 * 60_000
export const MAX_REACH_PEERS = 16
/** Peers that must say the same before an address is no longer told to others, or one that was not known is. */
export const REACH_AGREEING_PEERS = 2

/** To punch a hole through two NATs, asking for the own address included; and how long a failure is remembered. */
export const PUNCH_TIMEOUT_MS = 9_000
export const PUNCH_RETRY_MS = 60_000
/** In that time, while it fails sooner: now and then the answering side resets the first. */
export const MAX_PUNCH_ATTEMPTS = 3
/** For each but the last, which has what is left: the library waits for ever at a connection that closed at once. */
export const PUNCH_ATTEMPT_MS = 2_000
/** What a peer may say of its candidates while a hole is punched, and for how many holes at once. */
export const MAX_SIGNALING_BYTES = 16 * KiB
export const MAX_SIGNALING_STREAMS = 4
/** To punch one for TCP, which WebRTC leaves the first part of that time; between two connects that were refused. */
export const TCP_PUNCH_TIMEOUT_MS = 5_000
export const TCP_PUNCH_FIRST_MS = 2_500
export const TCP_PUNCH_KNOCK_MS = 250
/** What one paired peer may ask for, on average and at once, and how many are answered at a time. */
export const PUNCH_ANSWERS_PER_SECOND = 1 / 5
export const PUNCH_ANSWER_BURST = 20
export const MAX_PUNCH_ANSWERS = 4
/** How often a job that rides a relay looks for a direct way; the wait doubles. */
export const DIRECT_PROBE_MS = 2_000
export const DIRECT_PROBE_CAP_MS = 60_000
/** The first wait before a first contact is dialed again, and the longest. */
export const BOOTSTRAP_RETRY_MS = 1_000
export const BOOTSTRAP_RETRY_CAP_MS = 60_000

// Broker.

/** Offers one broker holds, tombstones included, and their bodies together: decoded they take some five times as much. */
export const MAX_CATALOG_OFFERS = 50_000
export const MAX_CATALOG_BYTES = 48 * MiB
/** The same of one provider. */
export const MAX_OFFERS_PER_PROVIDER = 256
export const MAX_OFFER_BYTES_PER_PROVIDER = 1 * MiB
/** The same of all that is published from one host. */
export const MAX_OFFERS_PER_HOST = 8 * MAX_OFFERS_PER_PROVIDER
export const MAX_OFFER_BYTES_PER_HOST = 8 * MAX_OFFER_BYTES_PER_PROVIDER
/** How often a broker looks for leases that ended. */
export const CATALOG_SWEEP_INTERVAL_MS = 5_000
/** Time for one answer of a broker, and for a client to take it. */
export const CATALOG_ANSWER_TIMEOUT_MS = 15_000
/** How long a client may say nothing before its stream is ended; a watch may be silent for ever. */
export const CATALOG_IDLE_TIMEOUT_MS = 60_000
/** Requests that may wait unread at a broker, as whole frames. */
export const MAX_CATALOG_FRAMES_UNREAD = 4
/** Positions asked for at a time: their offers, at their longest, wait unread at whoever asked. */
export const MAX_POSITIONS_PER_FETCH = 512
/** Catalogue streams a broker serves at once, of these by one peer and by all of one host, and of these that watch. */
export const MAX_CATALOG_STREAMS = 512
export const MAX_CATALOG_STREAMS_PER_PEER = 8
export const MAX_CATALOG_STREAMS_PER_HOST = 64
export const MAX_CATALOG_WATCHES = 256
/** How often who watches is told, at most. */
export const CATALOG_WATCH_INTERVAL_MS = 1_000
/** Offers, and requests, that one peer may send at once, and in a second from then on; one host four and eight times as many. */
export const CATALOG_OFFERS_BURST = 512
export const CATALOG_OFFERS_PER_SECOND = 64
export const CATALOG_REQUESTS_BURST = 256
export const CATALOG_REQUESTS_PER_SECOND = 16
/**
 * Time of the broker's thread that answers to one peer may take at once, and in a second from then on; one host four times
 * as much. Of 50,000 offers a match takes 30 ms, and a chain of Migrators 60; but offers that are all Migrators make it seconds.
 */
export const CATALOG_WORK_BURST_MS = 2_000
export const CATALOG_WORK_MS_PER_SECOND = 50
/** Bytes of answers a peer may ask for at once, and in a second from then on. */
export const CATALOG_ANSWER_BURST_BYTES = 96 * MiB
export const CATALOG_ANSWER_BYTES_PER_SECOND = 4 * MiB
/** Refusals for haste after which a stream is ended: whoever does not listen is not answered. */
export const MAX_HASTY_REQUESTS = 64
/** Other brokers that one exchanges offers with, beside contacts that its owner named; and of these at one host. */
export const MAX_BROKER_NEIGHBOURS = 32
export const MAX_HOST_NEIGHBOURS = 8
/** How often two brokers compare what they hold, beside gossip; and the longest wait before one that is gone is dialed again. */
export const CATALOG_COMPARE_INTERVAL_MS = 30_000
export const BROKER_RETRY_MS = 1_000
export const BROKER_RETRY_CAP_MS = 60_000
/** Below a prefix with more entries than this, summaries are fewer bytes than the entries. */
export const MAX_ENTRIES_ENUMERATED_AT_ONCE = 512
/** Gossiped offers a neighbour may send at once, and in a second from then on. */
export const GOSSIP_BURST = 8_192
export const GOSSIP_PER_SECOND = 1_024
/** Gossiped offers that no honest broker passes on, after which a neighbour is no longer listened to. */
export const MAX_GOSSIP_OFFENCES = 16
/** A frame of gossip; brokers bundle offers. */
export const MAX_GOSSIP_FRAME_BYTES = 1 * MiB
/** Brokers that an agent asks at once, and the time to reach one. */
export const MAX_BROKERS_ASKED = 8
export const BROKER_CONNECT_TIMEOUT_MS = 10_000
/** Time to ask the directory who is a broker, and how long the answer is good for. */
export const BROKER_LOOKUP_TIMEOUT_MS = 3_000
export const BROKER_LOOKUP_KEPT_MS = 60_000
/** Offers an agent publishes itself. */
export const MAX_OWN_OFFERS = 64
/** The first wait before an offer that could not be renewed is tried again, and the longest. */
export const RENEWAL_RETRY_MS = 1_000
export const RENEWAL_RETRY_CAP_MS = 60_000
/** Providers whose round trip is measured for one match, and the time for it. */
export const MAX_PROVIDERS_MEASURED = 16
export const PROVIDER_MEASURE_TIMEOUT_MS = 2_000
/** Candidates of one match that brokers are asked for chains of Migrators to. */
export const MAX_CHAINS_ASKED = 8
/** A file of a guest that is read into memory, and all that one Migrator changes in one guest. */
export const MAX_GUEST_FILE_BYTES = 1 * MiB
export const MAX_GUEST_CHANGE_BYTES = 8 * MiB
/** Input of one Migrator, as JSON. */
export const MAX_STEP_BYTES = 64 * 1024

// Relocation.

/** Random, chosen by the source; and the nonce of one question for a lease. */
export const RELOCATION_ID_BYTES = 16
export const LEASE_NONCE_BYTES = 16
/** A signed body of a relocation; the plan is the longest. */
export const MAX_RELOCATION_BODY_BYTES = 256 * KiB
export const MAX_RELOCATION_FRAME_BYTES = MAX_RELOCATION_BODY_BYTES + 1 * KiB
/** Machines of one relocation; disks, network cards and Migrators of one machine; forwards of one card. */
export const MAX_RELOCATION_MACHINES = 16
export const MAX_MACHINE_DISKS = 16
export const MAX_MACHINE_NICS = 8
export const MAX_MACHINE_STEPS = 16
export const MAX_NIC_FORWARDS = 64
/** What only one kind of driver understands, as JSON; and how deep any JSON of a peer may nest. */
export const MAX_MACHINE_EXTRA_BYTES = 16 * KiB
export const MAX_JSON_DEPTH = 32
export const MAX_HEALTH_CHECKS = 32
export const MAX_OBJECTIONS = 64
/** Longest time for all checks to pass: software emulation boots slowly. */
export const MAX_GATE_MS = 30 * 60_000
/** A changed file's path, and its change as lines; what is longer is cut. */
export const MAX_GUEST_PATH_BYTES = 4096
export const MAX_DIFF_BYTES = 64 * KiB
/** A target may run machines so long from when it asked; it asks again after a third of it. */
export const LEASE_MS = 5_000
/** The longest lease that is believed. */
export const MAX_RUN_LEASE_MS = 60_000
/** How much faster one side's clock may run than the other's, in thousandths: crystals differ by 0.1 at most. */
export const LEASE_DRIFT_PERMILLE = 10
/** Added by the source to a lease's end: its timers may be coarse. */
export const LEASE_MARGIN_MS = 250
/** Before a lease ends the guard pauses its machine, then takes its power, then kills it: so long before. */
export const LEASE_PAUSE_BEFORE_MS = 2_000
export const LEASE_POWER_OFF_BEFORE_MS = 1_200
export const LEASE_KILL_BEFORE_MS = 500
/** Silence on a relocation stream after which the other side is gone; heartbeats come four times as often. */
export const RELOCATION_SILENCE_TIMEOUT_MS = 10_000
/** A target that starts machines tells something new within this time, apart from the gate; and an answer comes. */
export const RELOCATION_PROGRESS_TIMEOUT_MS = 5 * 60_000
export const RELOCATION_ANSWER_TIMEOUT_MS = 60_000
/** A person may think so long. */
export const RELOCATION_APPROVAL_TIMEOUT_MS = 24 * 60 * 60_000
/** What one side may have sent ahead of the other's reading, and frames in a second, on average. */
export const MAX_RELOCATION_UNREAD_BYTES = 16 * MiB
export const MAX_RELOCATION_FRAMES_PER_SECOND = 200
/** Streams of one peer, on which nothing but heartbeats comes for so long at most. */
export const MAX_RELOCATION_STREAMS_PER_PEER = 8
export const RELOCATION_IDLE_TIMEOUT_MS = 5 * 60_000
/** What a target has prepared, for one peer and for all; forgotten when neither word nor data comes for so long. */
export const MAX_ARRIVALS_PER_PEER = 8
export const MAX_ARRIVALS = 32
export const ARRIVAL_EXPIRY_MS = 60 * 60_000
/** Pages of a guest's disk that are kept while its files are read, and bytes of each. */
export const GUEST_PAGE_BYTES = 64 * 1024
export const MAX_GUEST_PAGES = 256
/** A folder of a guest that is listed, and links followed on the way to one file. */
export const MAX_GUEST_FOLDER_BYTES = 8 * MiB
export const MAX_GUEST_LINKS = 40
/** Partitions that are looked at on one disk. */
export const MAX_PARTITIONS = 128
/** Blocks of a file system's journal that are read to see what it will say when it is mounted next. */
export const MAX_GUEST_JOURNAL_BYTES = 1024 * MiB
/** A text of a guest that is looked into, and findings of one kind in its report. */
export const MAX_GUEST_TEXT_BYTES = 256 * 1024
export const MAX_GUEST_FINDINGS = 256
/** Time for debugfs or e2fsck to do one thing, and what is kept of what they say. */
export const GUEST_TOOL_TIMEOUT_MS = 120_000
export const MAX_GUEST_TOOL_OUTPUT_BYTES = 64 * 1024
/** What LVM says of a volume group on a guest's disk. */
export const MAX_LVM_TEXT_BYTES = 1 * MiB
