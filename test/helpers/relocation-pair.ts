/** Two agents with a `local` cloud each, a service that runs in the first, and what a test asks of its relocation. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { RelocationReport } from '../../agent/reports/relocation-reports.ts'
import { openLocalCloud } from '../../agent/clouds/local.ts'
import type { Cloud } from '../../agent/clouds/cloud.ts'
import { connectAgent } from '../../agent/control/client.ts'
import { startPair, type AgentPair, type AgentProcess } from './agent-process.ts'
import { eventually } from './eventually.ts'
import { describeService, localClouds, writeServiceProgram, type LocalService } from './local-service.ts'
import { tempDir } from './temp-dir.ts'

const POLL_MS = 20

export interface RelocationPair extends AgentPair {
  readonly service: LocalService
  /** The clouds as their owners see them, beside the agents. */
  readonly here: Cloud
  readonly there: Cloud
  /** Path of service.toml. */
  readonly file: string
  /** Begins the relocation, and gives its id. */
  begin(...options: string[]): Promise<string>
}

export async function startRelocationPair(
  t: ExecutionContext,
  {
    gate,
    more,
    pairOf = startPair,
  }: { gate?: string; more?: string; pairOf?: (owner: ExecutionContext) => Promise<AgentPair> } = {},
): Promise<RelocationPair> {
  const base = await tempDir(t)
  const program = await writeServiceProgram(base)
  const folders = [join(base, 'here'), join(base, 'there')]
  const service = await describeService(folders[0], {
    program,
    shared: join(base, 'shared'),
    health: gate,
    more,
  })
  const { pair, here, there } = await pairWithClouds(t, folders, program, pairOf)
  const file = join(base, 'service.toml')
  await writeFile(file, service.toml)
  await here.start('web')
  await answers(service)
  return {
    ...pair,
    service,
    here,
    there,
    file,
    begin: async (...options) =>
      (await pair.alpine.tell('relocate', file, '--to', 'boreal', '--detach', ...options)).job as string,
  }
}

/**
 * Two paired agents, each with a `local` cloud in its folder that may run `program`, of which the second takes services in
 * from the first; and the clouds, as their owners see them. What runs in them ends with the test.
 */
export async function pairWithClouds(
  t: ExecutionContext,
  folders: readonly string[],
  program: string,
  pairOf: (owner: ExecutionContext) => Promise<AgentPair> = startPair,
): Promise<{ pair: AgentPair; here: Cloud; there: Cloud }> {
  const clouds = await Promise.all(
    folders.map((machines) => openLocalCloud({ machines, programs: [program] })),
  )
  for (const cloud of clouds)
    t.teardown(async () => {
      for (const name of await cloud.machines()) await cloud.stop(name, { graceMs: 0 }).catch(() => {})
    })
  const pair = await pairOf(t)
  for (const [i, agent] of [pair.alpine, pair.boreal].entries()) {
    await agent.stop()
    await agent.append(localClouds(folders[i], program))
    await agent.start()
  }
  await pair.boreal.tell('policy', 'set', 'alpine', '--relocate', 'local')
  return { pair, here: clouds[0], there: clouds[1] }
}

/** Resolves when the service answers. */
export function answers(service: LocalService): Promise<number[]> {
  return eventually(() => service.records().catch(() => undefined), { pollMs: POLL_MS })
}

/** The relocation's report as soon as it is in one of `states`, across restarts of the agent. */
export async function untilState(
  agent: AgentProcess,
  job: string,
  ...states: RelocationReport['state'][]
): Promise<RelocationReport> {
  return await untilRelocation(agent, job, ({ state }) => states.includes(state))
}

/** The same for any wish. */
export async function untilRelocation(
  agent: AgentProcess,
  job: string,
  wanted: (report: RelocationReport) => boolean,
): Promise<RelocationReport> {
  let report: RelocationReport | undefined
  const look = async () => {
    report = await reportOf(agent, job).catch(() => undefined)
    return report && wanted(report) ? report : undefined
  }
  const explain = async () =>
    `${agent.name} has ${JSON.stringify(report)}, not what ${wanted.toString()} wants\n${await agent.log()}`
  return await eventually(look, { pollMs: POLL_MS, explain })
}

async function reportOf(agent: AgentProcess, job: string): Promise<RelocationReport | undefined> {
  await using client = await connectAgent(agent.home)
  return (await client.relocations()).find((each) => each.job === job)
}
