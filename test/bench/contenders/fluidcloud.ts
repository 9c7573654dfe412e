/** Ours: `fluidcloud move` between two agents, each in its own process. */
import { join } from 'node:path'
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
