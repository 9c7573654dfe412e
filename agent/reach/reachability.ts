/**
 * Whether this agent can be reached from outside: it asks paired peers of other networks to try, and believes what
 * arrives. protocol/reach.md says how; it is libp2p's autonat v2 without strangers, and with the data port.
 */
import { closeSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import { randomBytes } from 'node:crypto'
import type { Connection, IdentifyResult } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { REACH_PROTOCOL } from '../../protocol/ids.ts'
import {
  MAX_REACH_ANSWERS,
  REACH_ANSWER_TIMEOUT_MS,
  REACH_ASK_INTERVAL_MS,
  REACH_LOOK_INTERVAL_MS,
  TOKEN_BYTES,
} from '../../protocol/limits.ts'
import { decodeReachAnswer, encodeReachQuestion, MAX_REACH_ANSWER_BYTES } from '../../protocol/reach.ts'
import { interfaceAddresses, isInterfaceAddress, isLoopback } from '../mesh/addresses.ts'
import type { Config } from '../config.ts'
import type { DataListener } from '../viaduct/data-listener.ts'
import type { Mesh } from '../mesh.ts'
import { readUpTo } from '../mesh/read-up-to.ts'
import { isRelayed } from '../mesh/relay.ts'
import { observedHost, reachAnswers } from './answer.ts'
import { socketOf } from './own-addresses.ts'
import { createVerdicts, type Finding, type ReachPort, type ReachVerdict } from './verdicts.ts'

/** What still arrives when the answer is here already has so long. */
const SETTLE_MS = 500

/** For `status` and `doctor`. */
export type ReachReport = Readonly<Record<ReachPort, ReachVerdict>>

/** Ports of a router that forwards to this agent's. */
export interface OuterPorts {
  readonly host: string
  readonly ports: Readonly<Partial<Record<ReachPort, number>>>
}

export interface Reachability extends AsyncDisposable {
  report(): ReachReport
  /** Ports of a router from now on; undefined: none any more. */
  mapped(outer: OuterPorts | undefined): void
  /** Asks every peer that can tell, now. */
  ask(): Promise<void>
}

export interface ReachabilityParts {
  readonly mesh: Mesh
  readonly listener: DataListener
  readonly config: Pick<Config, 'announce' | 'dataHost'>
  /** False for a host from which nothing can be learned; other machines of other networks, unless given. */
  readonly isOutside?: (host: string) => boolean
}

/** Answers others, and asks those who are connected, until it is disposed. */
export async function openReachability(parts: ReachabilityParts): Promise<Reachability> {
  const { mesh, listener, config, isOutside = isElsewhere } = parts
  const { node, connectionPolicy, refusals, own } = mesh
  const verdicts = createVerdicts()
  /** Peers that are being asked. */
  const asking = new Map<string, Promise<void>>()
  let outer: OuterPorts | undefined

  /** The connection over which `peer` can be asked. */
  const way = (peer: string): Connection | undefined =>
    node.getConnections(peerIdFromString(peer)).find((connection) => {
      const host = observedHost(connection.remoteAddr)
      return connection.status === 'open' && host !== undefined && !isRelayed(connection) && isOutside(host)
    })

  /** Asks `peer`, or waits for the answer that is under way. */
  async function askPeer(peer: string): Promise<void> {
    const connection = way(peer)
    if (!connection || !connectionPolicy.isPaired(peer)) return
    if (!asking.has(peer) && asking.size >= MAX_REACH_ANSWERS) return
    const answer = asking.get(peer) ?? learn(peer, connection).finally(() => asking.delete(peer))
    asking.set(peer, answer)
    await answer
  }

  async function learn(peer: string, connection: Connection): Promise<void> {
    const asked = outer
    const ports = askedPorts(observedHost(connection.remoteAddr))
    // It may say nothing, or not in time: then nothing is known.
    const finding = await tryPorts(connection, ports).catch(() => undefined)
    if (!finding || asked !== outer) return
    verdicts.note(peer, finding)
    tell()
  }

  /** Has the other end try both ports, and sees what arrives. */
  async function tryPorts(connection: Connection, ports: Finding['ports']): Promise<Finding | undefined> {
    const signal = AbortSignal.timeout(REACH_ANSWER_TIMEOUT_MS)
    const arrived: Record<ReachPort, boolean> = { mesh: false, data: false }
    const all = Promise.withResolvers<void>()
    const note = (port: ReachPort): void => {
      arrived[port] = true
      if ((arrived.mesh || ports.mesh === 0) && (arrived.data || ports.data === 0)) all.resolve()
    }
    const token = randomBytes(TOKEN_BYTES)
    const onOpen = ({ detail }: CustomEvent<Connection>): void => {
      if (
        detail.direction === 'inbound' &&
        detail.remotePeer.equals(connection.remotePeer) &&
        !isRelayed(detail)
      )
        note('mesh')
    }
    node.addEventListener('connection:open', onOpen)
    using _expected = listener.expect(token, ({ fd }) => {
      closeSync(fd)
      note('data')
    })
    try {
      const stream = await connection.newStream(REACH_PROTOCOL, { signal })
      const stop = () => stream.abort(new Error('No answer in time'))
      signal.addEventListener('abort', stop, { once: true })
      try {
        stream.send(encodeReachQuestion({ token, meshPort: ports.mesh, dataPort: ports.data }))
        const { tried, host } = decodeReachAnswer(await readUpTo(stream, MAX_REACH_ANSWER_BYTES, signal))
        if (!tried || isIP(host) === 0) return undefined
        await Promise.race([all.promise, settled()])
        return {
          host,
          ports,
          arrived: {
            mesh: ports.mesh > 0 ? arrived.mesh : undefined,
            data: ports.data > 0 ? arrived.data : undefined,
          },
          at: performance.now(),
        }
      } finally {
        signal.removeEventListener('abort', stop)
        await stream.close({ signal }).catch((error: Error) => stream.abort(error))
      }
    } finally {
      node.removeEventListener('connection:open', onOpen)
    }
  }

  /** Where outside a peer that is connected at `host` would find this agent. */
  function askedPorts(host: string | undefined): Record<ReachPort, number> {
    const family = isIP(host ?? '')
    const sockets = node
      .getMultiaddrs()
      .concat(own.hidden)
      .flatMap((addr) => socketOf(addr) ?? [])
    const inFamily = sockets.filter((socket) => socket.startsWith('[') === (family === 6))
    const portOf = (socket: string | undefined) => Number(/:(\d+)$/.exec(socket ?? '')?.[1] ?? 0)
    return {
      mesh: outer?.ports.mesh ?? portOf(inFamily[0] ?? sockets[0]),
      data: outer?.ports.data ?? (portOf(config.dataHost) || listener.address.port),
    }
  }

  /** Hosts that are this agent's, whoever says so. */
  const isOwn = (host: string) => host === outer?.host || isInterfaceAddress(host)

  function tell(): void {
    const of = (port: ReachPort) => {
      const mapped = outer?.ports[port]
      const more = new Set(verdicts.alive(port, isOwn))
      if (outer && mapped !== undefined) more.add(`${outer.host}:${mapped}`)
      return { more, less: verdicts.dead(port) }
    }
    own.set(of('mesh'), of('data'))
  }

  const connected = () => node.getPeers().map((id) => id.toString())
  const ask = async (peers = connected()): Promise<void> => {
    await Promise.all(peers.map(askPeer))
  }
  const isDue = (peer: string) =>
    performance.now() - (verdicts.foundAt(peer) ?? -Infinity) >= REACH_ASK_INTERVAL_MS

  const onIdentify = ({ detail }: CustomEvent<IdentifyResult>): void => {
    const peer = detail.peerId.toString()
    if (detail.protocols.includes(REACH_PROTOCOL) && isDue(peer)) void askPeer(peer)
  }
  await node.handle(REACH_PROTOCOL, connectionPolicy.pairedOnly(reachAnswers({ node, refusals })))
  node.addEventListener('peer:identify', onIdentify)
  const timer = setInterval(() => {
    // What was found long ago is forgotten.
    tell()
    void ask(connected().filter(isDue))
  }, REACH_LOOK_INTERVAL_MS)
  timer.unref()

  return {
    report: () => ({ mesh: verdicts.verdict('mesh'), data: verdicts.verdict('data') }),
    mapped(now) {
      outer = now
      verdicts.clear()
      tell()
      void ask()
    },
    ask: () => ask(),
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      node.removeEventListener('peer:identify', onIdentify)
      if (node.status === 'started') await node.unhandle(REACH_PROTOCOL)
    },
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, SETTLE_MS).unref())
}

/** True for an address of another machine, outside the networks this one is part of. */
export function isElsewhere(host: string): boolean {
  const family = isIP(host)
  if (family === 0 || isLoopback(host)) return false
  const near = new BlockList()
  for (const { cidr } of interfaceAddresses()) {
    const [address, bits] = cidr?.split('/') ?? []
    if (address) near.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
  return !near.check(host, family === 6 ? 'ipv6' : 'ipv4')
}
