/** Two paired agents between which everything passes proxies, mesh and data both ways: one line, which a test can break. */
import { join } from 'node:path'
import { pairAgents, startAgent, type AgentPair, type AgentProcess } from './agent-process.ts'
import { openBrokenProxy, type BrokenProxy } from './broken-proxy.ts'
import type { Owner } from './temp-dir.ts'

export interface Line {
  /** Nothing passes from now on, and nobody is told: what was said lies in the line. */
  goDead(): void
  /** Resets every connection, and takes no new ones. */
  cut(): void
  /** Passes again what lies in it, and takes connections. */
  mend(): void
}

export interface LinedPair extends AgentPair {
  readonly line: Line
}

/** Starts two agents that announce proxies instead of their ports, and pairs them. */
export async function startLinedPair(owner: Owner): Promise<LinedPair> {
  const proxies: BrokenProxy[] = []
  const start = async (name: string): Promise<AgentProcess> => {
    const [mesh, data] = [
      { host: '127.0.0.1', port: 0 },
      { host: '127.0.0.1', port: 0 },
    ]
    const [before, beside] = await Promise.all([openBrokenProxy(mesh), openBrokenProxy(data)])
    for (const proxy of [before, beside]) owner.teardown(() => proxy[Symbol.asyncDispose]())
    proxies.push(before, beside)
    const config = `announce = ["/ip4/127.0.0.1/tcp/${before.port}"]\ndata_host = "127.0.0.1:${beside.port}"`
    const agent = await startAgent(owner, name, { config, session: true })
    mesh.port = agent.meshPort
    data.port = agent.dataPort
    return agent
  }
  const [alpine, boreal] = await Promise.all([start('alpine'), start('boreal')])
  await pairAgents(alpine, boreal)
  const flows = () => proxies.flatMap(({ up, down }) => [up, down])
  return {
    alpine,
    boreal,
    at: (name) => join(boreal.home.imports, name),
    source: (name) => join(alpine.folder, name),
    line: {
      goDead() {
        for (const flow of flows()) flow.frozen = true
      },
      cut() {
        for (const proxy of proxies) {
          proxy.refusing = true
          proxy.cut()
        }
      },
      mend() {
        for (const proxy of proxies) proxy.refusing = false
        for (const flow of flows()) flow.thaw()
      },
    },
  }
}
