/** `completion`: scripts for bash, zsh and fish, and the hidden verb they ask for candidates. */
import { Argument, type Command } from 'commander'
import type { AgentApi } from '../api.ts'
import { connectAgent } from '../control/client.ts'
import type { Home } from '../home.ts'
import { isFinished } from '../output/progress.ts'
import { printable } from '../output/text.ts'
import { action, createContext, describe, optionsOf, placeAfter, type Runtime } from './command.ts'

/** Names only the agent knows. */
export interface Names {
  readonly peers: readonly string[]
  readonly jobs: readonly { readonly job: string; readonly about: string; readonly finished: boolean }[]
}

/** One thing the current word may become. */
export interface Candidate {
  readonly word: string
  readonly about: string
}

/** A press of Tab must not be felt: the agent has this long to answer, then only words of the grammar are offered. */
const ASK_TIMEOUT_MS = 400

/** Adds `completion` and its hidden counterpart. */
export function addCompletionCommands(program: Command, runtime: Runtime): void {
  describe(
    program
      .command('completion')
      .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SCRIPTS))),
    'Print the completion script of a shell',
    'Completes verbs and options, and names of peers and jobs while the agent runs.',
    [
      'source <(fluidcloud completion bash)',
      'fluidcloud completion zsh > ~/.zfunc/_fluidcloud',
      'fluidcloud completion fish | source',
    ],
  ).action(
    action(runtime, async ({ terminal }, shell: string) => {
      terminal.stdout.write(SCRIPTS[shell])
    }),
  )
  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .passThroughOptions(false)
    .action(
      action(runtime, async ({ terminal }, words: string[]) => {
        const { home } = createContext(runtime, { home: homeIn(words) })
        const candidates = await complete(program, words, () => askNames(home))
        terminal.stdout.write(candidates.map(({ word, about }) => `${word}\t${about}\n`).join(''))
      }),
    )
}

/** Candidates for the last of `words`, which are all after the program's name; none: the shell offers files. */
export async function complete(
  program: Command,
  words: readonly string[],
  ask: () => Promise<Names>,
): Promise<Candidate[]> {
  const current = words.at(-1) ?? ''
  const { command, operands, pending } = placeAfter(program, words.slice(0, -1))
  const all = pending
    ? valuesOf(pending.argChoices)
    : current.startsWith('-')
      ? flagsOf(command)
      : await wordsOf(command, operands, ask)
  return all.filter(({ word }) => word.startsWith(current))
}

function flagsOf(command: Command): Candidate[] {
  return optionsOf(command)
    .filter((option) => !option.hidden)
    .map((option) => ({ word: option.long ?? option.short ?? '', about: option.description }))
}

function valuesOf(choices: readonly string[] | undefined): Candidate[] {
  return (choices ?? []).map((word) => ({ word, about: '' }))
}

async function wordsOf(command: Command, operands: number, ask: () => Promise<Names>): Promise<Candidate[]> {
  const verbs = command.commands
    .filter((each) => !(each as unknown as { _hidden?: boolean })._hidden && operands === 0)
    .map((each) => ({ word: each.name(), about: each.summary() }))
  const argument = command.registeredArguments[operands]
  if (!argument) return verbs
  if (argument.argChoices) return valuesOf(argument.argChoices)
  const name = argument.name()
  if (!['peer', 'peer:dst', 'job'].includes(name)) return verbs
  const { peers, jobs } = await ask()
  if (name === 'peer') return peers.map((word) => ({ word, about: 'peer' }))
  if (name === 'peer:dst') return peers.map((peer) => ({ word: `${peer}:`, about: 'peer' }))
  const finishedToo = ['verify', 'receipt', 'watch'].includes(command.name())
  return jobs
    .filter(({ finished }) => finishedToo || !finished)
    .map(({ job, about }) => ({ word: job, about }))
}

/** The home the line being completed speaks of. */
function homeIn(words: readonly string[]): string | undefined {
  const at = words.indexOf('--home')
  return at === -1
    ? words.find((word) => word.startsWith('--home='))?.slice('--home='.length)
    : words[at + 1] || undefined
}

async function askNames(home: Home): Promise<Names> {
  const signal = AbortSignal.timeout(ASK_TIMEOUT_MS)
  try {
    await using agent = await connectAgent(home, { signal })
    const [peers, jobs, relocations] = await Promise.race([
      Promise.all([agent.pairList(), agent.jobs(), agent.relocations()]),
      rejectAt(signal),
    ])
    return namesOf(peers, jobs, relocations)
  } catch {
    return { peers: [], jobs: [] }
  }
}

function namesOf(
  peers: Awaited<ReturnType<AgentApi['pairList']>>,
  jobs: Awaited<ReturnType<AgentApi['jobs']>>,
  relocations: Awaited<ReturnType<AgentApi['relocations']>>,
): Names {
  return {
    peers: peers.map(({ name }) => printable(name)),
    jobs: [
      ...relocations.map(({ job, state, service, finishedAt }) => ({
        job,
        about: printable(`${state} ${service}`),
        finished: finishedAt !== undefined,
      })),
      ...jobs.map((job) => ({
        job: job.job,
        about: printable(`${job.state} ${job.destination}`),
        finished: isFinished(job),
      })),
    ],
  }
}

function rejectAt(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  )
}

// COMP_LINE is cut at spaces only: COMP_WORDS is cut at colons too, and PEER:DST has one.
const BASH = `# fluidcloud completion for bash: source <(fluidcloud completion bash)
_fluidcloud() {
  local line="\${COMP_LINE:0:COMP_POINT}" word IFS=$' \\t\\n'
  local -a words
  read -ra words <<< "$line"
  [[ $line == *' ' ]] && words+=('')
  COMPREPLY=()
  while IFS=$'\\t' read -r word _; do
    [[ $word == *: ]] || word+=' '
    COMPREPLY+=("$word")
  done < <("\${words[0]}" __complete -- "\${words[@]:1}" 2>/dev/null)
}
complete -o nospace -o default -F _fluidcloud fluidcloud
`

const ZSH = `#compdef fluidcloud
# fluidcloud completion for zsh: fluidcloud completion zsh > ~/.zfunc/_fluidcloud
_fluidcloud() {
  local -a plain open
  local word about
  while IFS=$'\\t' read -r word about; do
    if [[ $word == *: ]]; then open+=("$word"); else plain+=("\${word//:/\\\\:}:$about"); fi
  done < <("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( \${#plain} + \${#open} )) || { _files; return }
  (( \${#open} )) && compadd -S '' -- "\${open[@]}"
  (( \${#plain} )) && _describe fluidcloud plain
}
if [[ \${funcstack[1]} == _fluidcloud ]]; then _fluidcloud "$@"; else compdef _fluidcloud fluidcloud; fi
`

const FISH = `# fluidcloud completion for fish: fluidcloud completion fish | source
function __fluidcloud_complete
  set -l words (commandline -opc)
  set -l found ($words[1] __complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c fluidcloud -f -a '(__fluidcloud_complete)'
`

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH }
