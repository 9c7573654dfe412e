/**
 * smoldot, a light client of a blockchain, in a thread of its own: it shares no code of libp2p with ours, and what it
 * leaves behind ends with the thread. It takes the given node for the only node of its chain, and posts what it logs.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads'
import { polkadot } from '@substrate/connect-known-chains'
import { start } from 'smoldot'

/** Lines that a foreign peer of the node at `addrs` has logged so far; they grow. Ends when disposed. */
export function startForeignPeer(addrs: readonly string[]): AsyncDisposable & { readonly logged: string[] } {
  const logged: string[] = []
  const worker = new Worker(new URL(import.meta.url), { workerData: { foreignPeerOf: addrs } })
  worker.on('message', (line: string) => logged.push(line))
  return { logged, [Symbol.asyncDispose]: async () => void (await worker.terminate()) }
}

const { foreignPeerOf } = (workerData ?? {}) as { foreignPeerOf?: readonly string[] }
if (foreignPeerOf) {
  const client = start({
    maxLogLevel: 4,
    forbidWs: true,
    forbidWss: true,
    forbidWebRtc: true,
    logCallback: (_level, _target, message) => parentPort!.postMessage(message),
  })
  const spec = JSON.parse(polkadot) as { bootNodes: readonly string[] }
  void client.addChain({ chainSpec: JSON.stringify({ ...spec, bootNodes: foreignPeerOf }) })
}
