/** Ours: `fluidcloud move` between two agents, each in its own process. */
import { basename, join } from 'node:path'
import type { Contender } from '../contender.ts'
import { measure } from '../meter.ts'
import { runMove, startAgents } from './agents.ts'

const NAME = 'disk.raw'

/** With these options of `move`. */
export function fluidcloud(...options: readonly string[]): Contender {
  return {
    name: ['fluidcloud', ...options].join(' '),
    needs: [],
    traits: { verified: true, encrypted: true, resumable: true },
    async move({ source, held, folder, line }) {
      await using agents = await startAgents(line, folder)
      const move = (disk: string) => runMove(line.sender, agents.sender, disk, NAME, options)
      if (held) await move(held)
      const { figures, result } = await measure(line, () => move(source))
      return {
        ...figures,
        jobSeconds: result.seconds,
        toldWireBytes: result.wireBytes,
        target: join(agents.target, NAME),
      }
    },
  }
}

/** The disk of the task and `other` at once, as two jobs between the same agents. */
export function fluidcloudTogether(other: string): Contender {
  return {
    ...fluidcloud(),
    name: 'fluidcloud, both at once',
    async move({ source, folder, line }) {
      await using agents = await startAgents(line, folder)
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
