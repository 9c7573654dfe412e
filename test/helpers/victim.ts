/**
 * An agent under attack, an honest one that moves volumes to it, and folders that must stay as they are. Shared by the
 * ways of one file of the hostile suite, so that what one of them breaks shows in the next.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { ExecutionContext } from 'ava'
import { createAgent, type Agent, type AgentOptions } from '../../agent/agent.ts'
import type { JobReport } from '../../agent/reports/job-reports.ts'
import { initHome } from '../../agent/home.ts'
import { startRogue, type RoguePeer } from './rogue-peer.ts'

/** What every grant folder holds before anyone comes. */
export const EXISTING = 'existing.raw'

/** Dispose it to stop everything in it. */
export interface Victim extends AsyncDisposable {
  readonly agent: Agent
  readonly dataPort: number
  /** A paired rogue, and the folder its grant opens. */
  rogue(grant?: {
    maxBytes?: number
    approve?: 'auto' | 'ask'
  }): Promise<RoguePeer & { readonly folder: string }>
  /** Somebody who only knows the address. */
  stranger(): Promise<RoguePeer>
  ticket(grant?: {
    folder?: string
    maxBytes?: number
    approve?: 'auto' | 'ask'
    uses?: number
  }): Promise<string>
  /** Files anywhere around the agent that are not staging, with digests of what is in them. */
  files(): Promise<Record<string, string>>
  /** What was refused to peers so far, by kind. */
  refused(): Promise<Readonly<Record<string, number>>>
  job(id: string): Promise<JobReport | undefined>
  /** Passes when the agent still takes a volume from an honest peer. */
  serves(t: ExecutionContext): Promise<void>
  /** A file outside every grant, for tests that send from the agent. */
  file(name: string, bytes: Uint8Array): Promise<string>
}

export async function openVictim({ bounds }: Pick<AgentOptions, 'bounds'> = {}): Promise<Victim> {
  await using stack = new AsyncDisposableStack()
  const base = await mkdtemp(join(tmpdir(), 'fct-'))
  stack.defer(() => rm(base, { recursive: true, force: true }))
  const start = async (name: string, options: Pick<AgentOptions, 'bounds'> = {}) => {
    const home = await initHome(join(base, name), { name })
    return stack.use(
      await createAgent({
        home: home.path,
        listen: ['/ip4/127.0.0.1/tcp/0'],
        dataPort: 0,
        mdns: false,
        logLevel: 'silent',
        ...options,
      }),
    )
  }
  const [agent, honest] = [await start('victim', { bounds }), await start('honest')]
  const [addr] = agent.ready.addrs
  const granted = join(base, 'granted')
  await mkdir(join(base, 'outside'), { recursive: true })
  await writeFile(join(base, 'outside', 'secret.txt'), 'keep me')
  let folders = 0
  let moves = 0

  async function grantFolder(): Promise<string> {
    const folder = join(granted, String(++folders))
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, EXISTING), 'was here before')
    return folder
  }
  const ticket: Victim['ticket'] = async ({ folder, maxBytes, approve = 'auto', uses = 1 } = {}) => {
    const options = { expiresMs: 600_000, uses, folder: folder ?? (await grantFolder()), maxBytes, approve }
    return (await agent.api.pairTicket(options)).ticket
  }
  const honestFolder = await grantFolder()
  const { name } = await honest.api.pairRedeem({ ticket: await ticket({ folder: honestFolder }) })
  const owned = stack.move()

  const victim: Victim = {
    agent,
    dataPort: Number(/:(\d+)$/.exec(agent.ready.dataAddrs[0])?.[1]),
    async rogue(grant = {}) {
      const folder = await grantFolder()
      const rogue = owned.use(await startRogue(addr))
      await rogue.redeem(await ticket({ ...grant, folder }))
      return { ...rogue, folder }
    },
    stranger: async () => owned.use(await startRogue(addr)),
    ticket,
    async files() {
      const found: Record<string, string> = {}
      for (const folder of [granted, join(base, 'outside')]) {
        for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
          if (entry.isDirectory() || entry.name.endsWith('.part') || entry.parentPath === honestFolder)
            continue
          const path = join(entry.parentPath, entry.name)
          found[relative(base, path)] = entry.isFile()
            ? createHash('sha256')
                .update(await readFile(path))
                .digest('hex')
            : 'other'
        }
      }
      return found
    },
    refused: async () => (await agent.api.status()).refused,
    job: async (id) => (await agent.api.jobs()).find(({ job }) => job === id),
    async serves(t) {
      const bytes = randomBytes(200_000)
      const destination = `move-${++moves}.raw`
      const source = await victim.file('honest.raw', bytes)
      const { job } = await honest.api.move({ source, peer: name, destination })
      for await (const { state, error } of honest.api.watch({ job })) {
        if (state === 'complete') break
        if (error && !error.retryable) t.fail(`An honest move failed: ${error.message}`)
      }
      t.true(bytes.equals(await readFile(join(honestFolder, destination))), 'An honest move arrives whole')
    },
    async file(name, bytes) {
      const path = join(base, name)
      await writeFile(path, bytes)
      return path
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
  return victim
}
