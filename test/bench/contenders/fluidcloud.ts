/** Ours: `fluidcloud move` between two agents, each in its own process. */
import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { run } from '../../helpers/programs.ts'
import type { Contender, Task } from '../contender.ts'
import { peakRssBytes } from '../cpu.ts'
import { measure } from '../meter.ts'
import { runMove, startAgents, type AgentPair } from './agents.ts'

const NAME = 'disk.raw'
const HELD_NAME = 'before.raw'
/** Each half of what agents move before they are measured. */
const WARM_UP_BYTES = 64 * 2 ** 20

/** With these options of `move`. */
export function fluidcloud(...options: readonly string[]): Contender {
  return mover(['fluidcloud', ...options].join(' '), options, async (agents, held, { line }) => {
    await runMove(line.sender, agents.sender, held, NAME, options)
  })
}

/** The version that is held arrived under another name. */
export function fluidcloudBesideOther(...options: readonly string[]): Contender {
  const name = ['fluidcloud, other name', ...options].join(' ')
  return mover(name, options, async (agents, held, { line }) => {
    await runMove(line.sender, agents.sender, held, HELD_NAME, options)
  })
}

/** The version that is held never was moved: it lies in a seed folder of the receiver. */
export function fluidcloudWithSeed(...options: readonly string[]): Contender {
  const name = ['fluidcloud, seed', ...options].join(' ')
  return mover(name, options, async (agents, held, { folder }) => {
    const seeds = join(folder, 'seeds')
    await mkdir(seeds)
    await run('cp', ['--sparse=always', held, join(seeds, HELD_NAME)])
    let files = 0
    for await (const seed of agents.receiver.api.seedAdd({ folder: seeds })) files = seed.files
    if (files === 0) throw new Error('The seed folder was not read')
  })
}

/** `hold` has the receiver hold the version before. */
function mover(
  name: string,
  options: readonly string[],
  hold: (agents: AgentPair, held: string, task: Task) => Promise<void>,
): Contender {
  return {
    name,
    needs: [],
    traits: { verified: true, encrypted: true, resumable: true },
    async move(task) {
      const { source, held, folder, line } = task
      await using agents = await startAgents(line, folder)
      await warmUp(agents, task)
      if (held) await hold(agents, held, task)
      const { figures, result } = await measure(line, () =>
        runMove(line.sender, agents.sender, source, NAME, options),
      )
      return {
        ...figures,
        senderRssBytes: await peakRssBytes(agents.sender.pid),
        receiverRssBytes: await peakRssBytes(agents.receiver.pid),
        jobSeconds: result.seconds,
        toldWireBytes: result.wireBytes,
        target: join(agents.target, NAME),
      }
    },
  }
}

/**
 * Agents run for months, and are measured as such: a first move, half of it compressible, has their threads started and
 * their code compiled.
 */
async function warmUp({ sender }: AgentPair, { line, folder }: Task): Promise<void> {
  const path = join(folder, 'warm-up.raw')
  const random = randomBytes(WARM_UP_BYTES)
  await writeFile(path, [random, Buffer.from(random.toString('hex').slice(0, WARM_UP_BYTES))])
  await runMove(line.sender, sender, path, 'warm-up.raw')
  await rm(path)
}

/** The disk of the task and `other` at once, as two jobs between the same agents. */
export function fluidcloudTogether(other: string): Contender {
  return {
    ...fluidcloud(),
    name: 'fluidcloud, both at once',
    async move(task) {
      const { source, folder, line } = task
      await using agents = await startAgents(line, folder)
      await warmUp(agents, task)
      const { figures, result } = await measure(line, () =>
        Promise.all([source, other].map((disk) => runMove(line.sender, agents.sender, disk, basename(disk)))),
      )
      return {
        ...figures,
        jobSeconds: Math.max(...result.map(({ seconds }) => seconds)),
        toldWireBytes: result.reduce((sum, { wireBytes }) => sum + wireBytes, 0),
        target: join(agents.target, basename(source)),
      }
    },
  }
}
