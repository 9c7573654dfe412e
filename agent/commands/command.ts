/** What every verb shares: its context, how it reports, how its help is written, how its arguments are read. */
import path from 'node:path'
import { Option, type Command } from 'commander'
import { FluidError } from '../../protocol/errors.ts'
import type { AgentApi } from '../api.ts'
import { connectAgent, type AgentClient } from '../control/client.ts'
import { homeAt, openHome, resolveHome, type Home } from '../home.ts'
import { formatEvent } from '../output/ndjson.ts'
import { createStyle, wantsColor, wantsUnicode, type Style } from '../output/style.ts'
import type { Screen, Terminal } from '../output/terminal.ts'
import { parseDuration, parseRate, parseSize } from '../units.ts'

/** Where a command line is when some of its words are read. */
export interface Place {
  readonly command: Command
  /** Words so far that are neither commands nor options. */
  readonly operands: number
  /** The option whose value comes next. */
  readonly pending?: Option
}

/** Reads `words`, which are all after the program's name. */
export function placeAfter(program: Command, words: readonly string[]): Place {
  let command = program
  let operands = 0
  let pending: Option | undefined
  for (const word of words) {
    if (pending) {
      pending = undefined
    } else if (word.startsWith('-')) {
      pending = optionsOf(command).find(
        (option) => option.required && (option.long === word || option.short === word),
      )
    } else {
      const below = command.commands.find((each) => each.name() === word)
      if (below) command = below
      else operands++
    }
  }
  return { command, operands, pending }
}

/** Of the command, and of those above it. */
export function optionsOf(command: Command): Option[] {
  return command.parent ? [...command.options, ...optionsOf(command.parent)] : [...command.options]
}

/** One run of the program. `exit` is its status so far; what ends the run early exits with it. */
export interface Runtime {
  readonly terminal: Terminal
  exit: number
}

/** Options that stand before or after any verb. */
export interface GlobalOptions {
  readonly home?: string
  readonly json?: boolean
  readonly quiet?: boolean
  readonly verbose?: boolean
  /** False for --no-color. */
  readonly color?: boolean
}

/** What a verb works with. */
export interface Context {
  readonly runtime: Runtime
  readonly terminal: Terminal
  readonly home: Home
  readonly json: boolean
  readonly quiet: boolean
  readonly verbose: boolean
  /** How standard output is written to; standard error has its own. */
  readonly style: Style
  readonly errorStyle: Style
  /** The running agent; NOT_INITIALISED or AGENT_NOT_RUNNING. */
  connect(): Promise<AgentClient>
  /** The result: one NDJSON line with --json, else what a person reads. */
  report(type: string, fields: object, human: (style: Style, columns?: number) => string): void
  /** Like report(), for a list: one NDJSON line an item, or all of it as a person reads it. */
  reportAll(type: string, items: readonly object[], human: (style: Style, columns?: number) => string): void
  /** NDJSON lines only; nothing without --json. */
  emit(type: string, fields: object): void
  /** Something for the person only, on standard error; silent with --json or --quiet. */
  note(text: string): void
}

/** The style of one stream of the terminal. */
export function styleOf(screen: Screen, terminal: Terminal, options: GlobalOptions): Style {
  const { env } = terminal
  return createStyle({
    color: wantsColor(env, { isTTY: screen.isTTY, noColor: options.color === false }),
    unicode: wantsUnicode(env),
  })
}

/** The context of one verb, from the options given anywhere on the command line. */
export function createContext(runtime: Runtime, options: GlobalOptions): Context {
  const { terminal } = runtime
  const { json = false, quiet = false, verbose = false } = options
  const home = homeAt(homePath(terminal, options.home))
  const style = styleOf(terminal.stdout, terminal, options)
  const emit = (type: string, fields: object): void => {
    if (json) terminal.stdout.write(formatEvent(type, fields))
  }
  const show = (human: (style: Style, columns?: number) => string): void => {
    terminal.stdout.write(human(style, terminal.stdout.isTTY ? terminal.stdout.columns : undefined))
  }
  return {
    runtime,
    terminal,
    home,
    json,
    quiet,
    verbose,
    style,
    errorStyle: styleOf(terminal.stderr, terminal, options),
    connect: () => connect(home),
    emit,
    report(type, fields, human) {
      if (json) emit(type, fields)
      else show(human)
    },
    reportAll(type, items, human) {
      if (json) for (const item of items) emit(type, item)
      else show(human)
    },
    note(text) {
      if (!json && !quiet) terminal.stderr.write(`${text}\n`)
    },
  }
}

function homePath(terminal: Terminal, home: string | undefined): string {
  return resolveHome({
    home: home && path.resolve(terminal.cwd, home),
    env: terminal.env,
  })
}

async function connect(home: Home): Promise<AgentClient> {
  try {
    return await connectAgent(home)
  } catch (error) {
    if (error instanceof FluidError && error.code === 'AGENT_NOT_RUNNING') await openHome(home.path)
    throw error
  }
}

/** Makes a verb's action: `handler` gets the context, then the arguments and options as commander has them. */
export function action<A extends unknown[]>(
  runtime: Runtime,
  handler: (context: Context, ...args: A) => Promise<number | void>,
): (this: Command, ...args: unknown[]) => Promise<void> {
  return async function (this: Command, ...args: unknown[]): Promise<void> {
    const context = createContext(runtime, this.optsWithGlobals<GlobalOptions>())
    runtime.exit = (await handler(context, ...(args as A))) ?? 0
  }
}

/** Like {@link action}, for verbs that ask the running agent. */
export function agentAction<A extends unknown[]>(
  runtime: Runtime,
  handler: (context: Context, agent: AgentApi, ...args: A) => Promise<number | void>,
): (this: Command, ...args: unknown[]) => Promise<void> {
  return action(runtime, async (context, ...args) => {
    await using agent = await context.connect()
    return await handler(context, agent, ...(args as A))
  })
}

/** The help of a verb: its purpose in one line, what else to know, and commands to copy. */
export function describe(
  command: Command,
  purpose: string,
  details: string,
  examples: readonly string[],
): Command {
  command.summary(purpose).description(`${purpose}.\n\n${details}`)
  return command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ ${line}\n`).join('')}`)
}

/** An option whose value is one of a few words. */
export function choice(flags: string, description: string, values: readonly string[]): Option {
  return new Option(flags, description).choices(values)
}

/** An option read by `parse`, which throws USAGE; the flag is named in the message. */
export function parsed<T>(flags: string, description: string, parse: (text: string) => T): Option {
  return new Option(flags, description).argParser((text: string) => {
    try {
      return parse(text)
    } catch (cause) {
      if (!(cause instanceof FluidError)) throw cause
      const flag = flags.split(' ')[0]
      throw new FluidError('USAGE', `${flag}: ${cause.message}`, { hint: cause.details.hint })
    }
  })
}

/** `--max 10GiB`: bytes. */
export const sizeOption = (flags: string, description: string): Option =>
  parsed(flags, description, parseSize)
/** `--bwlimit 100MiB/s`: bytes a second. */
export const rateOption = (flags: string, description: string): Option =>
  parsed(flags, description, parseRate)
/** `--expires 1h`: milliseconds. */
export const durationOption = (flags: string, description: string): Option =>
  parsed(flags, description, parseDuration)

/** `--streams 8`: a whole number in a range. */
export function integerOption(flags: string, description: string, min: number, max: number): Option {
  return parsed(flags, description, (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw new FluidError('USAGE', `'${text}' is not a whole number from ${min} to ${max}`)
  })
}

/** An option that may be given many times; its value is the list. */
export function listOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string, before: string[] | undefined) => [
    ...(before ?? []),
    text,
  ])
}

/** A path the person wrote, made absolute: the agent has another working folder. */
export function absolute(context: Context, folder: string): string
export function absolute(context: Context, folder: string | undefined): string | undefined
export function absolute(context: Context, folder: string | undefined): string | undefined {
  return folder === undefined ? undefined : path.resolve(context.terminal.cwd, folder)
}
