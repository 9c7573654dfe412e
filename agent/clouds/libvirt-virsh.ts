/** Calls of virsh: an explicit connection, no shell, a deadline each, bounded output, words that do not depend on locale. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { FluidError } from '../../protocol/errors.ts'

const run = promisify(execFile)

/** Longer than libvirt itself waits for a machine that is busy (30 s), so that its own words are heard. */
const CALL_TIMEOUT_MS = 40_000
const MAX_OUTPUT_BYTES = 8 * 2 ** 20
const MAX_SAID_CHARS = 600

export interface VirshOptions {
  readonly signal?: AbortSignal
  readonly timeoutMs?: number
}

/** Runs one command of virsh and gives its output. Throws CLOUD_FAILED with what libvirt said. */
export type Virsh = (args: readonly string[], options?: VirshOptions) => Promise<string>

/** virsh for the libvirt at `uri`. */
export function createVirsh(uri: string): Virsh {
  return async (args, { signal, timeoutMs = CALL_TIMEOUT_MS } = {}) => {
    signal?.throwIfAborted()
    try {
      const { stdout } = await run('virsh', ['--quiet', '--connect', uri, ...args], {
        env: { ...process.env, LC_ALL: 'C' },
        timeout: timeoutMs,
        maxBuffer: MAX_OUTPUT_BYTES,
        killSignal: 'SIGKILL',
        signal,
      })
      return stdout
    } catch (cause) {
      signal?.throwIfAborted()
      throw failureOf(args[0], cause, timeoutMs)
    }
  }
}

/** What libvirt said, for errors of virsh() only. */
export function saidBy(error: unknown): string {
  return error instanceof FluidError && error.code === 'CLOUD_FAILED' ? error.message : ''
}

interface CallFailure {
  readonly code?: string | number
  readonly killed?: boolean
  readonly stderr?: string
  readonly message: string
}

function failureOf(command: string, cause: unknown, timeoutMs: number): FluidError {
  const { code, killed, stderr = '', message } = cause as CallFailure
  if (code === 'ENOENT')
    return new FluidError('CLOUD_FAILED', `Cannot run virsh: ${message}`, {
      cause,
      hint: 'Install libvirt-clients on this machine',
    })
  if (killed)
    return new FluidError('CLOUD_FAILED', `libvirt did not answer virsh ${command} within ${timeoutMs} ms`, {
      cause,
      hint: 'Check that its daemon runs and that no other operation holds the machine: virsh domjobinfo',
    })
  const said = wordsOf(stderr) || message.slice(0, MAX_SAID_CHARS)
  return new FluidError('CLOUD_FAILED', `virsh ${command} failed: ${said}`, { cause, hint: hintFor(said) })
}

/** One line, without the prefix of each. */
function wordsOf(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.replace(/^error: /, '').trim())
  return lines
    .filter((line) => line !== '')
    .join('; ')
    .slice(0, MAX_SAID_CHARS)
}

const HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /authentication|polkit|Failed to connect socket.*Permission denied/i,
    'The user of the agent must be in the group libvirt',
  ],
  [
    /Failed to connect|failed to connect/,
    'Start libvirtd (or virtqemud), or correct uri in [clouds.libvirt]',
  ],
  [/state change lock/, 'Another operation of this machine is under way: see virsh domjobinfo'],
  [
    /nbd-server-start|Permission denied/,
    'QEMU needs to make files in the folder `images` of [clouds.libvirt]: check its owner, and AppArmor or SELinux',
  ],
  [
    /checkpoint.*(not supported|unsupported)|incremental backup|qcow2 v3/i,
    'Live snapshots need libvirt 7 and QEMU 5.2 or newer, and qcow2 images of version 3: qemu-img amend -o compat=1.1',
  ],
  [/Cannot find.*network|network .* is not active/i, 'Start the network: virsh net-start NAME'],
]

function hintFor(said: string): string | undefined {
  return HINTS.find(([pattern]) => pattern.test(said))?.[1]
}
