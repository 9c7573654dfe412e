/** Both sides of an attempt in this process, as agents wire them: worker pools, TLS lanes through a proxy, journals on disk. */
import { randomBytes } from 'node:crypto'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { openDataListener } from '../../agent/viaduct/data-listener.ts'
import { RangeSet, type Range } from '../../protocol/extent.ts'
import { TOKEN_BYTES } from '../../protocol/limits.ts'
import type { StateLevel } from '../../transfer/chunk-index.ts'
import { CHUNKING_FASTCDC_64K } from '../../transfer/chunker.ts'
import { Inbound } from '../../transfer/inbound.ts'
import { Journal } from '../../transfer/journal.ts'
import type { LanePool } from '../../transfer/lane-pool.ts'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { fileUrl, openSink } from '../../transfer/open.ts'
import { Outbound } from '../../transfer/outbound.ts'
import { prepareSource } from '../../transfer/prepared-source.ts'
import { createRecentTable } from '../../transfer/recent-chunks.ts'
import type { Sink } from '../../transfer/sink.ts'
import { createCounters, type TransferCounters } from '../../transfer/transfer-counters.ts'
import { openBrokenProxy, type BrokenProxy } from './broken-proxy.ts'
import { stateLevel } from './state-level.ts'
import { tempDir } from './temp-dir.ts'

/** What outlives an attempt: files, databases, the job. */
export interface Sides {
  readonly sourcePath: string
  readonly targetPath: string
  readonly job: Uint8Array
  readonly levels: { readonly sender: StateLevel; readonly receiver: StateLevel }
  readonly statePath: string
}

/** One attempt; dispose it as an agent does, and make another. */
export interface Attempt extends AsyncDisposable {
  readonly outbound: Outbound
  readonly inbound: Inbound
  readonly journals: { readonly sender: Journal; readonly receiver: Journal }
  readonly counters: { readonly sender: TransferCounters; readonly receiver: TransferCounters }
  readonly proxy: BrokenProxy
  /** What made data durable, in the order it happened: 'sync', 'journal', 'checkpoint'. */
  readonly order: readonly string[]
  readonly acknowledged: RangeSet
  /** How often the sender wrote where something durable lay. */
  readonly rewrites: () => number
  /** Dials `lanes` lanes; true for each that opened on the receiver. */
  openLanes(lanes: number): Promise<boolean[]>
}

/** A source of these bytes, and a target of the same size that is all hole, in `targetFolder` where that is given. */
export async function sides(t: ExecutionContext, content: Uint8Array, targetFolder?: string): Promise<Sides> {
  const folder = await tempDir(t)
  const [sourcePath, targetPath] = [join(folder, 'source'), join(targetFolder ?? folder, 'target')]
  writeFileSync(sourcePath, content)
  writeFileSync(targetPath, '')
  truncateSync(targetPath, content.length)
  const [sender, receiver] = await Promise.all([stateLevel(t), stateLevel(t)])
  return {
    sourcePath,
    targetPath,
    job: randomBytes(16),
    levels: { sender: sender.level, receiver: receiver.level },
    statePath: receiver.path,
  }
}

export interface AttemptOptions {
  readonly pools: { readonly sender: LanePool; readonly receiver: LanePool }
  /** Rate limits of the sender. */
  readonly pacers?: readonly SharedArrayBuffer[]
  /** As the sender takes the line to be; unknown unless given. */
  readonly roundTripMs?: number
  /** See OutboundOptions. */
  readonly mostUnacknowledged?: number
  /** Takes the place of the sink's own sync. */
  sync?(): Promise<void>
  onCheckpoint?(ranges: readonly Range[]): Promise<void>
}

/** Starts an attempt from what the journals hold. No lane is open yet. */
export async function openAttempt(
  sides: Sides,
  { pools, pacers = [], roundTripMs, mostUnacknowledged, sync, onCheckpoint }: AttemptOptions,
): Promise<Attempt> {
  await using stack = new AsyncDisposableStack()
  const order: string[] = []
  const source = stack.use(await prepareSource(sides.sourcePath, { lanes: 4 }))
  const sink = stack.use(await openSink(fileUrl(sides.targetPath)))
  const journals = {
    sender: await Journal.open(sides.levels.sender, sides.job),
    receiver: await Journal.open(noted(sides.levels.receiver, order), sides.job),
  }
  const counters = { sender: createCounters(), receiver: createCounters() }
  const acknowledged = new RangeSet()
  let rewrites = 0
  const notedSink: Sink = {
    ...sink,
    async sync() {
      await (sync ? sync() : sink.sync())
      order.push('sync')
    },
  }
  const outbound = stack.use(
    new Outbound({
      pool: pools.sender,
      source,
      journal: journals.sender,
      committed: journals.receiver.done.clone(),
      chunking: CHUNKING_FASTCDC_64K,
      compression: 'auto',
      pacers,
      roundTripMs,
      mostUnacknowledged,
      counters: counters.sender,
    }),
  )
  const inbound = stack.use(
    new Inbound({
      pool: pools.receiver,
      sinkUrl: fileUrl(sides.targetPath),
      sink: notedSink,
      sizeBytes: sink.sizeBytes,
      journal: journals.receiver,
      statePath: sides.statePath,
      scopes: [],
      recent: createRecentTable(1 << 12),
      comparesBlocks: true,
      counters: counters.receiver,
      onRewrite: async () => void rewrites++,
      async onCheckpoint(ranges) {
        order.push('checkpoint')
        acknowledged.addAll(ranges)
        await onCheckpoint?.(ranges)
        await outbound.acknowledge(ranges)
      },
    }),
  )
  const [dialing, accepting] = await Promise.all([
    createLaneIdentity('receiver'),
    createLaneIdentity('sender'),
  ])
  const listener = stack.use(await openDataListener({ host: '127.0.0.1', port: 0 }))
  const proxy = stack.use(await openBrokenProxy(listener.address))
  const token = randomBytes(TOKEN_BYTES)
  listener.expect(token, ({ fd, head }) => {
    void outbound.addLane({
      kind: 'tls-accept',
      fd,
      head,
      identity: accepting,
      peerCertificate: dialing.certificateDer,
    })
  })
  const owned = stack.move()
  return {
    outbound,
    inbound,
    journals,
    counters,
    proxy,
    order,
    acknowledged,
    rewrites: () => rewrites,
    openLanes: (lanes) =>
      Promise.all(
        Array.from({ length: lanes }, (_, lane) =>
          inbound.addLane({
            kind: 'tls-dial',
            host: proxy.host,
            port: proxy.port,
            serverName: serverName(token, lane),
            identity: dialing,
            peerCertificate: accepting.certificateDer,
          }),
        ),
      ),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** The database, which notes each durable batch once it is written. */
function noted(level: StateLevel, order: string[]): StateLevel {
  return new Proxy(level, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (key !== 'batch') return typeof value === 'function' ? value.bind(target) : value
      return () => {
        const batch = target.batch()
        const write = batch.write.bind(batch)
        batch.write = async (options: { sync?: boolean } = {}) => {
          await write(options)
          if (options.sync) order.push('journal')
        }
        return batch
      }
    },
  })
}
