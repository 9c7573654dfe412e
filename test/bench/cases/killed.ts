/**
 * Case 8: an agent is killed in the middle of a move and started again. What was sent twice is counted by the
 * kernel, as TCP payload beyond that of a move that nobody kills.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatBytes } from '../../../agent/units.ts'
import { PEER, startAgent, startAgents, type Agent, type AgentPair } from '../contenders/agents.ts'
import { medians } from '../report.ts'
import { inTaskFolder } from '../task-folder.ts'
import { freePort } from '../../helpers/free-port.ts'
import { dataBytes, warm } from '../holes.ts'
import { openLoopback, type CountingLine } from '../line.ts'
import { incompressibleFile } from '../workloads.ts'
import type { Case } from './case.ts'

const SIZE_BYTES = 4 * 2 ** 30
const POLL_MS = 10
/** More than the greeting of two agents: bytes of the volume flow again. */
const FLOWING_BYTES = 512 * 1024

type Victim = 'receiver' | 'sender' | 'both'

interface Outcome {
  readonly seconds: number
  readonly payloadBytes: number
  /** From the start of the program to its ready line; of the slower one. */
  readonly readySeconds?: number
  /** From the start of the program until the volume flows again. */
  readonly flowingSeconds?: number
}

export const killed: Case = {
  id: '8',
  title: 'an agent killed in the middle of a move, and started again at once',
  async run(bench) {
    const { options, report } = bench
    const source = await incompressibleFile(options.work, options.sizeBytes ?? SIZE_BYTES)
    await using line = await openLoopback()
    const kinds: { name: string; victim?: Victim; at?: number }[] = [
      { name: 'nobody' },
      ...(['receiver', 'sender', 'both'] as const).flatMap((victim) =>
        [0.25, 0.6, 0.9].map((at) => ({ name: `${victim} at ${at * 100} %`, victim, at })),
      ),
    ]
    const runs = kinds.map(() => [] as Outcome[])
    for (let run = 1; run <= options.runs; run++) {
      for (const [kind, { name, victim, at }] of kinds.entries()) {
        const turn = `case 8, run ${run} of ${options.runs}: ${name}`
        using _running = report.running(turn)
        await warm(source)
        const outcome = await inTaskFolder(bench, (folder) => moveAndKill(line, source, folder, victim, at))
        runs[kind].push(outcome)
        report.progress(`${turn}: ${outcome.seconds.toFixed(2)} s`)
      }
    }
    const all = runs.map(medians)
    const rows = kinds.map(({ name, victim }, kind) => {
      const { seconds, payloadBytes, readySeconds, flowingSeconds } = all[kind]
      const twice = payloadBytes - all[0].payloadBytes
      const sign = twice < 0 ? '-' : ''
      return [
        name,
        seconds.toFixed(2),
        victim === undefined ? '' : `${sign}${formatBytes(Math.abs(twice))}`,
        readySeconds?.toFixed(2) ?? '',
        flowingSeconds?.toFixed(2) ?? '',
      ]
    })
    const head = ['killed', 'seconds', 'sent twice', 'ready again after', 'moving again after']
    report.table(`Case 8: ${this.title}, medians of ${options.runs}`, head, rows)
    for (const [kind, { name }] of kinds.entries()) {
      const sentTwiceBytes = all[kind].payloadBytes - all[0].payloadBytes
      report.json({
        bench: 'killed',
        case: '8',
        killed: name,
        ...all[kind],
        sentTwiceBytes,
        runs: runs[kind],
      })
    }
  },
}

async function moveAndKill(
  line: CountingLine,
  source: string,
  folder: string,
  victim?: Victim,
  at = 1,
): Promise<Outcome> {
  const ports = {
    sender: { mesh: await freePort(), data: await freePort() },
    receiver: { mesh: await freePort(), data: await freePort() },
  }
  await using first = await startAgents(line, folder, { ports })
  const payload = () => line.payloadBytes()
  const [begun, before] = [performance.now(), await payload()]
  const { job } = await first.sender.api.move({ source, peer: PEER, destination: 'disk.raw' })
  const sizeBytes = await dataBytes(source)
  if (victim === undefined) {
    await untilComplete(first.sender, job)
    return { seconds: secondsSince(begun), payloadBytes: (await payload()) - before }
  }
  while ((await payload()) - before < at * sizeBytes) await sleep(POLL_MS)
  await Promise.all(victimsOf(first, victim).map((agent) => agent.kill()))
  const [restarted, atKill] = [performance.now(), await payload()]
  await using stack = new AsyncDisposableStack()
  const again = await Promise.all(
    (['sender', 'receiver'] as const).map(async (role) =>
      victim === role || victim === 'both'
        ? stack.use(await startAgent(line[role], join(folder, role), ports[role]))
        : first[role],
    ),
  )
  const readySeconds = secondsSince(restarted)
  while ((await payload()) - atKill < FLOWING_BYTES) {
    if (await isComplete(again[0], job)) break
    await sleep(POLL_MS)
  }
  const flowingSeconds = secondsSince(restarted)
  await untilComplete(again[0], job)
  return {
    seconds: secondsSince(begun),
    payloadBytes: (await payload()) - before,
    readySeconds,
    flowingSeconds,
  }
}

function victimsOf(agents: AgentPair, victim: Victim): Agent[] {
  return victim === 'both' ? [agents.sender, agents.receiver] : [agents[victim]]
}

async function untilComplete(agent: Agent, job: string): Promise<void> {
  while (!(await isComplete(agent, job))) await sleep(POLL_MS)
}

async function isComplete({ api }: Agent, job: string): Promise<boolean> {
  const report = (await api.jobs()).find((each) => each.job === job)
  if (report?.state === 'failed') throw new Error(`The job failed: ${report.error?.message}`)
  return report?.state === 'complete'
}

function secondsSince(begun: number): number {
  return (performance.now() - begun) / 1000
}
