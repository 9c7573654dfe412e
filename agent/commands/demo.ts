/** `demo`: the main job between two agents on this machine. */
import type { Command } from 'commander'
import { action, describe, type Runtime } from './command.ts'

/** Adds `demo`. */
export function addDemoCommand(program: Command, runtime: Runtime): void {
  describe(
    program.command('demo'),
    'Show a whole move between two agents on this machine',
    'Two agents in temporary homes pair and move a generated disk; one is killed halfway and the job finishes by itself. Nothing stays behind.',
    ['fluidcloud demo'],
  ).action(
    action(runtime, async ({ json, style }) => {
      const { runDemo } = await import('../demo.ts')
      return runDemo({ json, color: style.color })
    }),
  )
}
