/** What the command line touches of its process, so that a test can be one too. */
import type { Readable, Writable } from 'node:stream'

/** A stream that may be a terminal. */
export type Screen = Writable & { readonly isTTY?: boolean; readonly columns?: number }

export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean }
  /** Results only: what a script reads. */
  readonly stdout: Screen
  /** Progress, remarks, errors and logs: what a person reads. */
  readonly stderr: Screen
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Where SIGINT and SIGTERM arrive. */
  readonly signals: {
    on(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
    off(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
  }
  /** Leaves at once, for the second SIGINT. */
  exit(status: number): void
}

/** This process. */
export function processTerminal(): Terminal {
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    signals: process,
    exit: (status) => process.exit(status),
  }
}
