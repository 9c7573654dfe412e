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
/** Each half of a disk that agents move before they are measured; as many disks, where the line brings them in time. */
const WARM_UP_BYTES = 64 * 2 ** 20
const WARM_UP_DISKS = 8
const WARM_UP_MS = 15_000
/** Where disks are upgraded: one block of 4 KiB in so many bytes. */
const UPGRADED_EVERY_BYTES = 256 * 1024

/** With these options of `move`. */
export function fluidcloud(...options: readonly string[]): Contender {
  return mover(['fluidcloud', ...options].join(' '), options, async (agents, held, { line }) => {
    await runMove(line.sender, agents.sender, held, NAME, options)
  })
}

/** By agents that were just started: what code is not compiled yet costs. */
export function fluidcloudAtFirst(): Contender {
  return mover('fluidcloud, first job', [], async () => {}, 0)
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

/** `hold` has the receiver hold the version before; `disks` at most are moved first. */
function mover(
  name: string,
  options: readonly string[],
  hold: (agents: AgentPair, held: string, task: Task) => Promise<void>,
  disks = WARM_UP_DISKS,
): Contender {
  return {
    name,
    needs: [],
    traits: { verified: true, encrypted: true, resumable: true },
    async move(task) {
      const { source, held, folder, line } = task
      await using agents = await startAgents(line, folder)
      await warmUp(agents, task, { disks, options })
      if (held) await hold(agents, held, task)
      const { figures, result } = await measure(line, () =>
        runMove(line.sender, agents.sender, source, NAME, options),
      )
      return {
        ...figures,
        senderRssBytes: peakRssBytes(agents.sender.pid),
        receiverRssBytes: peakRssBytes(agents.receiver.pid),
        jobSeconds: result.seconds,
        toldWireBytes: result.wireBytes,
        target: join(agents.target, NAME),
      }
    },
  }
}

/**
 * Agents run for months, and are measured as such: moves before, half of them compressible, have their threads started and
 * their code compiled. One does not: what runs once a window is compiled after hundreds of them. Where the task is about a
 * version that is held, every second of these disks is the one before after an upgrade, moved over it with `options`.
 */
async function warmUp(
  { sender }: AgentPair,
  { line, folder, held }: Task,
  { disks = WARM_UP_DISKS, options = [] }: { disks?: number; options?: readonly string[] } = {},
): Promise<void> {
  const path = join(folder, 'warm-up.raw')
  const until = performance.now() + WARM_UP_MS
  let content: Buffer = Buffer.alloc(0)
  for (let disk = 0; disk < disks && performance.now() < until; disk++) {
    const upgrades = held !== undefined && disk % 2 === 1
    if (upgrades)
      for (let at = 0; at < content.length; at += UPGRADED_EVERY_BYTES) randomBytes(4096).copy(content, at)
    else content = halfCompressible()
    await writeFile(path, content)
    await runMove(
      line.sender,
      sender,
      path,
      `warm-up-${upgrades ? disk - 1 : disk}.raw`,
      upgrades ? options : [],
    )
  }
  await rm(path, { force: true })
}

function halfCompressible(): Buffer {
  const random = randomBytes(WARM_UP_BYTES)
  return Buffer.concat([random, Buffer.from(random.toString('hex').slice(0, WARM_UP_BYTES))])
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
