/**
 * Two real lanes joined in memory: port lanes whose ports are relayed to each other instead of to a libp2p stream.
 * Frames, credits and ends are those of the engine; the line between them breaks when a test says so.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type { Lane } from '../../transfer/lane.ts'
import { openLane } from '../../transfer/lanes/open-lane.ts'
import type { PortMessage } from '../../transfer/lanes/port-message.ts'

/** Both ends; dispose to close them. */
export interface MemoryLanes extends AsyncDisposable {
  readonly sender: Lane
  readonly receiver: Lane
  /** Breaks the line, once this many bytes have gone from sender to receiver. */
  cutAfterBytes: number
  /** Breaks the line now. */
  cut(): void
}

/** A fresh pair; aborting `signal` ends both lanes. */
export async function openMemoryLanes({ signal }: { signal?: AbortSignal } = {}): Promise<MemoryLanes> {
  const [one, other] = [new MessageChannel(), new MessageChannel()]
  let carried = 0
  const cut = () => {
    const broken: PortMessage = { kind: 'failed', code: 'LANE_FAILED', message: 'The line was cut' }
    for (const port of [one.port1, other.port1]) port.postMessage(broken)
  }
  const relay = (from: MessagePort, to: MessagePort, counted: boolean) => {
    from.on('message', (message: PortMessage) => {
      if (counted && message.kind === 'bytes') {
        carried += message.bytes.byteLength
        if (carried > lanes.cutAfterBytes) return cut()
      }
      to.postMessage(message, message.kind === 'bytes' ? [message.bytes.buffer] : [])
      if (message.kind === 'end') from.postMessage({ kind: 'ended' } satisfies PortMessage)
    })
    from.on('close', () => to.close())
  }
  const lanes: MemoryLanes = {
    sender: await openLane({ kind: 'port', port: one.port2, path: 'libp2p' }, { signal }),
    receiver: await openLane({ kind: 'port', port: other.port2, path: 'libp2p' }, { signal }),
    cutAfterBytes: Infinity,
    cut,
    async [Symbol.asyncDispose]() {
      await Promise.all([lanes.sender[Symbol.asyncDispose](), lanes.receiver[Symbol.asyncDispose]()])
    },
  }
  relay(one.port1, other.port1, true)
  relay(other.port1, one.port1, false)
  return lanes
}
