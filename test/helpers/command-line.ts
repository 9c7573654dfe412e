/** One command line run in this process, against a fake agent behind a real control socket in a real home. */
import { EventEmitter } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable, Writable } from 'node:stream'
import type { AgentApi } from '../../agent/api.ts'
import { runCli } from '../../agent/cli.ts'
import { serveControl, type ControlServer } from '../../agent/control/server.ts'
import { homeAt, initHome, type Home } from '../../agent/home.ts'
import type { Screen } from '../../agent/output/terminal.ts'
import { createFakeAgent, type FakeAnswers, type RecordedCall } from './fake-agent.ts'

/** A temporary folder, removed on disposal. */
export async function openTempFolder(): Promise<{ path: string } & AsyncDisposable> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fluidcloud-cli-'))
  return { path: folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}

/** What a run printed, and how it ended. */
export interface Outcome {
  readonly exit: number
  readonly stdout: string
  readonly stderr: string
  /** The NDJSON lines of stdout. */
  readonly lines: readonly Record<string, unknown>[]
  /** Statuses given to exit(), for runs that left at once. */
  readonly exits: readonly number[]
}

export interface RunOptions {
  readonly env?: Record<string, string>
  readonly stdin?: string
  /** Columns of standard error as a terminal; undefined: not a terminal. */
  readonly columns?: number
  /** Where SIGINT comes from. */
  readonly signals?: EventEmitter
  /** Sees everything written to stdout, as it is written. */
  readonly onOutput?: (text: string) => void
}

/** A home with an agent behind its socket. */
export interface FakeSite extends AsyncDisposable {
  readonly home: Home
  readonly folder: string
  readonly calls: RecordedCall[]
  readonly api: AgentApi
  server: ControlServer
  run(argv: readonly string[], options?: RunOptions): Promise<Outcome>
}

/** Opens a home whose agent is fake and whose socket is real. */
export async function openFakeSite(answers: FakeAnswers = {}): Promise<FakeSite> {
  const folder = await openTempFolder()
  const home = await initHome(path.join(folder.path, 'home'), { name: 'alpha' })
  const { api, calls } = createFakeAgent(answers)
  const site: FakeSite = {
    home,
    folder: folder.path,
    calls,
    api,
    server: await serveControl(api, home),
    run: (argv, options) => runIn(folder.path, home, argv, options),
    async [Symbol.asyncDispose]() {
      await site.server[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
  return site
}

/** Runs a command line in `cwd`; `home` is given by environment, so that argv stays as a person types it. */
export async function runIn(
  cwd: string,
  home: Home | string,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const { env = {}, stdin = '', columns, signals = new EventEmitter(), onOutput } = options
  const stdout = capture(undefined, onOutput)
  const stderr = capture(columns)
  const exits: number[] = []
  const exit = await runCli(argv, {
    stdin: Readable.from(stdin === '' ? [] : [Buffer.from(stdin)]),
    stdout: stdout.screen,
    stderr: stderr.screen,
    env: { LANG: 'C.UTF-8', FLUIDCLOUD_HOME: (typeof home === 'string' ? homeAt(home) : home).path, ...env },
    cwd,
    signals,
    exit: (status) => void exits.push(status),
  })
  const lines = argv.includes('--json') && !argv.includes('--') ? parseLines(stdout.text()) : []
  return { exit, stdout: stdout.text(), stderr: stderr.text(), lines, exits }
}

function parseLines(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

/** A screen that keeps what is written to it. */
export function capture(
  columns?: number,
  onOutput?: (text: string) => void,
): { screen: Screen; text: () => string } {
  let written = ''
  const screen = new Writable({
    decodeStrings: false,
    write(chunk: string | Buffer, _, done) {
      written += String(chunk)
      onOutput?.(String(chunk))
      done()
    },
  })
  return { screen: Object.assign(screen, { isTTY: columns !== undefined, columns }), text: () => written }
}
