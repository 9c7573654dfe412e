/**
 * One end of a transfer by iroh, as a process: node iroh-node.ts MODULE ADDRESS STORE provide FILE
 * or node iroh-node.ts MODULE ADDRESS STORE get FILE TICKET. The provider prints a line once it listens; on SIGUSR2 it
 * takes the file and prints the ticket. Then it stays. ADDRESS has a port.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createRequire } from 'node:module'

/** What is used of the binding, 0.35: it is no dependency, so its types are not here. */
interface Binding {
  readonly Iroh: { persistent(path: string, options: object): Promise<Node> }
  readonly SetTagOption: { auto(): object }
  readonly BlobDownloadOptions: new (format: string, nodes: readonly object[], tag: object) => object
}

interface Node {
  readonly net: { nodeId(): Promise<string> }
  readonly blobs: {
    addFromPath(path: string, inPlace: boolean, tag: object, wrap: object, told: Told): Promise<void>
    download(hash: string, options: object, told: Told): Promise<void>
    export(hash: string, path: string, format: string, mode: string): Promise<void>
  }
}

interface Address {
  readonly nodeId: string
  readonly addresses: readonly string[]
}

type Told = (error: Error | null, progress: Progress) => void

interface Progress {
  readonly allDone?: { readonly hash?: string }
  readonly abort?: { readonly error: string }
}

const [, , module, address, store, what, file, ticket] = process.argv
const { Iroh, SetTagOption, BlobDownloadOptions } = createRequire(import.meta.url)(module) as Binding
const node = await Iroh.persistent(store, {
  ipv4Addr: address,
  secretKey: [...randomBytes(32)],
  nodeDiscovery: 'None',
})
if (what === 'provide') {
  // Neither the wait for a signal nor the node keeps the process.
  setInterval(() => {}, 60_000)
  const go = once(process, 'SIGUSR2')
  // What it would find out by itself takes seconds, and without a way out of the network it never ends.
  const from: Address = { nodeId: await node.net.nodeId(), addresses: [address] }
  console.log('ready')
  await go
  const { hash } = await untilDone((told) =>
    node.blobs.addFromPath(file, true, SetTagOption.auto(), { wrap: false }, told),
  )
  console.log(JSON.stringify({ hash, from }))
} else {
  const { hash, from } = JSON.parse(ticket) as { hash: string; from: Address }
  const options = new BlobDownloadOptions('Raw', [from], SetTagOption.auto())
  await untilDone((told) => node.blobs.download(hash, options, told))
  await node.blobs.export(hash, file, 'Blob', 'TryReference')
  process.exit(0)
}

async function untilDone(begin: (told: Told) => Promise<void>): Promise<{ hash?: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ hash?: string }>()
  await begin((error, progress) => {
    if (error) return reject(error)
    const { allDone, abort } = progress
    if (abort) reject(new Error(abort.error))
    if (allDone) resolve(allDone)
  })
  return await promise
}
