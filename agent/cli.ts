/** The grammar of the command line: the program that verbs are added to, and one run of it from arguments to exit status. */
import { Command, CommanderError } from 'commander'
import manifest from '../package.json' with { type: 'json' }
import { FluidError, asFluidError } from '../protocol/errors.ts'
import { placeAfter, styleOf, type GlobalOptions, type Runtime } from './commands/command.ts'
import { formatError } from './output/error-text.ts'
import { errorFields, formatEvent } from './output/ndjson.ts'
import type { Terminal } from './output/terminal.ts'
import { partsFor, VERB_PARTS, type VerbPart } from './verbs.ts'

/** The grammar, whole or these parts of it. Its actions write to the runtime's terminal and set its exit status. */
export async function createProgram(
  runtime: Runtime,
  parts: readonly VerbPart[] = VERB_PARTS,
): Promise<Command> {
  const { terminal } = runtime
  const program: Command = new Command('fluidcloud')
    // Before any subcommand: they inherit it, and exit 1 instead of 2 otherwise.
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
      // runCli() reports usage errors like every other.
      outputError: () => {},
      getOutHelpWidth: () => terminal.stdout.columns ?? 100,
      getErrHelpWidth: () => terminal.stderr.columns ?? 100,
      getOutHasColors: () => styleOf(terminal.stdout, terminal, {}).color,
      getErrHasColors: () => styleOf(terminal.stderr, terminal, {}).color,
    })
    .configureHelp({
      showGlobalOptions: true,
      // Only those of the program: --ticket-stdin of pair says nothing to pair list.
      visibleGlobalOptions: (command) =>
        command.parent ? program.options.filter(({ long }) => long !== '--version') : [],
      styleTitle: (text) => (text === '' ? text : `\x1b[1m${text}\x1b[22m`),
    })
    .description(
      'Moves disks and volumes from one cloud to another: direct, deduplicated, resumable, verified.',
    )
    .version(manifest.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .addHelpCommand(
      new Command('help').argument('[command]').description('Show help of a command').helpGroup('Help:'),
    )
    .option('--home <dir>', 'folder of the agent (FLUIDCLOUD_HOME)')
    .option('--json', 'NDJSON on standard output, for scripts')
    .option('--quiet', 'results only')
    .option('--verbose', 'more detail in logs and errors')
    .option('--no-color', 'no colours (NO_COLOR)')
    .addHelpText('after', EXAMPLES)

  const added = await Promise.all(parts.map(({ load }) => load()))
  for (const [i, { group }] of parts.entries()) {
    program.commandsGroup(group)
    added[i](program, runtime)
  }
  return program
}

const EXAMPLES = `
Examples:
  $ fluidcloud init && fluidcloud agent           on both machines
  $ fluidcloud pair ticket                        at the target
  $ fluidcloud pair fluid1qyq… --as geneva        at the source
  $ fluidcloud move disk.raw geneva:disk.raw
`

/** Runs one command line (without node and script) and resolves to its exit status. Never rejects. */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  const runtime: Runtime = { terminal, exit: 0 }
  // Errors of a pipe come after the write, even after the run. EPIPE: who read our output has gone, nobody is left to tell.
  terminal.stdout.on('error', (error: NodeJS.ErrnoException) => {
    terminal.exit(error.code === 'EPIPE' ? runtime.exit : reportLoss(error, runtime))
  })
  terminal.stderr.on('error', () => {})
  const program = await createProgram(runtime, partsFor(argv))
  try {
    await program.parseAsync(argv, { from: 'user' })
  } catch (thrown) {
    runtime.exit = reportFailure(thrown, program, argv, terminal)
  }
  // A file's error is known at once, and told as an event only when the process may be over.
  const lost: NodeJS.ErrnoException | null = terminal.stdout.errored
  return lost && lost.code !== 'EPIPE' ? reportLoss(lost, runtime) : runtime.exit
}

/** Says that the output is not all there, such as on a full disk: what a script reads of it would be taken for the whole. */
function reportLoss(cause: Error, { terminal, exit }: Runtime): number {
  const error = new FluidError('UNEXPECTED', 'Writing to standard output failed', {
    cause,
    hint: 'What was to be done is done; its report is cut off',
  })
  terminal.stderr.write(formatError(error, styleOf(terminal.stderr, terminal, {})))
  return exit || error.exit
}

function reportFailure(
  thrown: unknown,
  program: Command,
  argv: readonly string[],
  terminal: Terminal,
): number {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0
  const error =
    thrown instanceof CommanderError
      ? usageError(thrown, helpOf(program, argv))
      : withHelp(asFluidError(thrown), program, argv)
  const options = program.opts<GlobalOptions>()
  // A command line that could not be parsed may not have come as far as --json.
  const json = options.json ?? beforeDashes(argv).includes('--json')
  if (json) terminal.stdout.write(formatEvent('error', errorFields(error)))
  else if (!(thrown instanceof CommanderError) || thrown.code !== 'commander.help') {
    const style = styleOf(terminal.stderr, terminal, options)
    terminal.stderr.write(formatError(error, style, { verbose: options.verbose }))
  }
  return error.exit
}

function beforeDashes(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf('--')
  return end === -1 ? argv : argv.slice(0, end)
}

/** The command line that explains the command of `argv`. */
function helpOf(program: Command, argv: readonly string[]): string {
  const names = ['--help']
  for (let at: Command | null = placeAfter(program, beforeDashes(argv)).command; at; at = at.parent)
    names.unshift(at.name())
  return names.join(' ')
}

/** What has no hint of its own is explained by the help of the command, rather than of the program. */
function withHelp(error: FluidError, program: Command, argv: readonly string[]): FluidError {
  if (error.code !== 'USAGE' || error.details.hint !== undefined) return error
  return new FluidError('USAGE', error.message, { cause: error.cause, hint: `See ${helpOf(program, argv)}` })
}

/** commander's complaint as ours: its suggestion becomes the hint, else where to read on. */
function usageError(error: CommanderError, help: string): FluidError {
  const see = `See ${help}`
  if (error.code === 'commander.help') return new FluidError('USAGE', 'A command is missing', { hint: see })
  const [first, ...rest] = error.message.replace(/^error: /, '').split('\n')
  const suggestion = rest
    .join(' ')
    .replace(/^\(|\)$/g, '')
    .trim()
  const message = first.charAt(0).toUpperCase() + first.slice(1).replace(/\.$/, '')
  return new FluidError('USAGE', message, { hint: suggestion || see })
}
