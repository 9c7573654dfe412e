/**
 * The verbs of the command line, as help groups them, and where each is made. A command line loads what its own verb
 * needs: all of them together take as long as the rest of a start.
 */
import type { Command } from 'commander'
import type { Runtime } from './commands/command.ts'

/** Adds the verbs of a group's part to the program. */
export type AddVerbs = (program: Command, runtime: Runtime) => void

export interface VerbPart {
  readonly group: string
  readonly verbs: readonly string[]
  load(): Promise<AddVerbs>
}

/** In the order of help. */
export const VERB_PARTS: readonly VerbPart[] = [
  {
    group: 'This agent:',
    verbs: ['init', 'id'],
    load: async () => (await import('./commands/init.ts')).addIdentityCommands,
  },
  {
    group: 'This agent:',
    verbs: ['agent'],
    load: async () => (await import('./commands/agent.ts')).addAgentCommand,
  },
  {
    group: 'This agent:',
    verbs: ['status'],
    load: async () => (await import('./commands/status.ts')).addStatusCommand,
  },
  {
    group: 'Peers:',
    verbs: ['pair'],
    load: async () => (await import('./commands/pair.ts')).addPairCommands,
  },
  {
    group: 'Peers:',
    verbs: ['policy'],
    load: async () => (await import('./commands/policy.ts')).addPolicyCommands,
  },
  {
    group: 'Peers:',
    verbs: ['bench'],
    load: async () => (await import('./commands/bench.ts')).addBenchCommand,
  },
  {
    group: 'Choosing:',
    verbs: ['offers'],
    load: async () => (await import('./commands/offers.ts')).addOffersCommands,
  },
  {
    group: 'Choosing:',
    verbs: ['match'],
    load: async () => (await import('./commands/match.ts')).addMatchCommand,
  },
  {
    group: 'Choosing:',
    verbs: ['broker'],
    load: async () => (await import('./commands/broker.ts')).addBrokerCommand,
  },
  {
    group: 'Moving:',
    verbs: ['plan', 'move'],
    load: async () => (await import('./commands/move.ts')).addMoveCommands,
  },
  {
    group: 'Moving:',
    verbs: ['jobs', 'watch', 'pause', 'resume', 'cancel'],
    load: async () => (await import('./commands/jobs.ts')).addJobCommands,
  },
  {
    group: 'Moving:',
    verbs: ['verify', 'receipt'],
    load: async () => (await import('./commands/verify.ts')).addProofCommands,
  },
  {
    group: 'Services:',
    verbs: ['relocate', 'cutover', 'rollback', 'finalize'],
    load: async () => (await import('./commands/relocate.ts')).addRelocationCommands,
  },
  {
    group: 'Services:',
    verbs: ['machines'],
    load: async () => (await import('./commands/machines.ts')).addMachineCommands,
  },
  {
    group: 'Help:',
    verbs: ['doctor'],
    load: async () => (await import('./commands/doctor.ts')).addDoctorCommand,
  },
  {
    group: 'Help:',
    // These look at all others.
    verbs: [],
    load: async () => (await import('./commands/completion.ts')).addCompletionCommands,
  },
  {
    group: 'Help:',
    verbs: ['demo'],
    load: async () => (await import('./commands/demo.ts')).addDemoCommand,
  },
]

/** The parts that a command line needs: that of its verb, or all where it has none that stands by itself. */
export function partsFor(argv: readonly string[]): readonly VerbPart[] {
  let at = 0
  while (argv[at]?.startsWith('-')) {
    // Help of the program names all verbs.
    if (!BEFORE_VERB.has(argv[at].split('=')[0])) return VERB_PARTS
    at += argv[at] === '--home' ? 2 : 1
  }
  const part = VERB_PARTS.find(({ verbs }) => verbs.includes(argv[at]))
  return part ? [part] : VERB_PARTS
}

/** Global options that may come before the verb and change nothing about which it is. */
const BEFORE_VERB: ReadonlySet<string> = new Set(['--home', '--json', '--quiet', '--verbose', '--no-color'])
