/** Two paired agents whose data connections pass proxies that a test can break, and which count every byte of them. */
import { join } from 'node:path'
import { openBrokenProxy, type BrokenProxy } from './broken-proxy.ts'
import {
  pairAgents,
  startAgent,
  type AgentPair,
  type AgentPairOptions,
  type AgentProcess,
} from './agent-process.ts'
import type { Owner } from './temp-dir.ts'

export interface ProxiedPair extends AgentPair {
  /** Before the data ports of alpine and of boreal: whichever side dials, it dials one of them. */
  readonly proxies: readonly [BrokenProxy, BrokenProxy]
  /** Bytes of all data connections so far, both directions; counted by nobody who could be killed. */
  lineBytes(): number
  /** Resets every data connection. */
  cut(): void
}

/** Starts two paired agents that announce a proxy instead of their data port. */
export async function startProxiedPair(
  owner: Owner,
  { ticket = [] }: Pick<AgentPairOptions, 'ticket'> = {},
): Promise<ProxiedPair> {
  const start = async (name: string): Promise<[AgentProcess, BrokenProxy]> => {
    const target = { host: '127.0.0.1', port: 0 }
    const proxy = await openBrokenProxy(target)
    owner.teardown(() => proxy[Symbol.asyncDispose]())
    const agent = await startAgent(owner, name, { config: `data_host = "127.0.0.1:${proxy.port}"` })
    target.port = agent.dataPort
    return [agent, proxy]
  }
  const [[alpine, before], [boreal, behind]] = await Promise.all([start('alpine'), start('boreal')])
  await pairAgents(alpine, boreal, ...ticket)
  const proxies = [before, behind] as const
  return {
    alpine,
    boreal,
    at: (name) => join(boreal.home.imports, name),
    source: (name) => join(alpine.folder, name),
    proxies,
    lineBytes: () => proxies.reduce((sum, { up, down }) => sum + up.bytes + down.bytes, 0),
    cut: () => proxies.forEach((proxy) => proxy.cut()),
  }
}
