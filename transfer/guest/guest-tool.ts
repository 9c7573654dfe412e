/**
 * debugfs and e2fsck on a file system within an open disk. They get the disk as a file descriptor: no path of ours is ever
 * parsed by them, and what they opened is what we opened. Names go into debugfs scripts only as quoted() lets them.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { FluidError } from '../../protocol/errors.ts'
import { GUEST_TOOL_TIMEOUT_MS, MAX_GUEST_TOOL_OUTPUT_BYTES } from '../../protocol/limits.ts'

/** A file system: its disk, open for reading and writing, and where it begins. */
export interface ToolTarget {
  readonly fd: number
  readonly offset: number
  /** For people. */
  readonly name: string
}

interface ToolEnd {
  readonly status: number
  readonly said: string
}

/** Descriptors of a child beyond its first three: the disk, then what is passed along. */
const DISK_FD = 3

/** What e2fsck says when it looks for the file system at the disk's start. */
const REOPEN_FAILED = 'while trying to re-open'

/** What the tool calls the n-th file passed along. */
export function passedFile(index: number): string {
  return `/proc/self/fd/${DISK_FD + 1 + index}`
}

/**
 * Runs commands of debugfs, and throws TARGET_WRITE or NO_SPACE with what it said when one of them failed. `files` are
 * descriptors that the commands know as passedFile(0) and so on.
 */
export async function runDebugfs(
  target: ToolTarget,
  commands: readonly string[],
  files: readonly number[] = [],
): Promise<void> {
  const { status, said } = await runTool(
    'debugfs',
    ['-w', '-f', '-', diskOf(target)],
    target,
    files,
    commands,
  )
  // A full file system makes no bad status, only words.
  if (status === 0 && said === '') return
  const full = /No space|not allocate/i.test(said)
  throw new FluidError(
    full ? 'NO_SPACE' : 'TARGET_WRITE',
    `debugfs failed on ${target.name}: ${said || `status ${status}`}`,
    {
      ...(full && { hint: 'Free space inside the guest, on the file system of that file' }),
    },
  )
}

/** Notes in the superblock whether a check is due. Throws TARGET_WRITE. */
export async function noteCheck(target: ToolTarget, due: boolean): Promise<void> {
  await runDebugfs(target, [`ssv state ${due ? 0 : 1}`])
}

/**
 * Writes what the journal holds to its places, and empties it. Throws TARGET_WRITE.
 *
 * e2fsck (1.47.0 and before) replays and empties the journal, then forgets the offset when it opens the file system
 * again to take away the flag that says so (e2fsck_run_ext3_journal() in journal.c). The flag is taken away here, and
 * e2fsck asked again: it would replay once more if anything were left.
 */
export async function replayJournal(target: ToolTarget): Promise<void> {
  const args = ['-y', '-E', 'journal_only']
  const { status, said } = await runTool('e2fsck', [...args, diskOf(target)], target, [], [])
  if (status > 1 && !said.includes(REOPEN_FAILED)) throw e2fsckError(target, said, status)
  if (status > 1) {
    await runDebugfs(target, ['feature -needs_recovery'])
    await runE2fsck(target, args)
  }
}

/**
 * Checks all of it, and repairs what is safe to repair: usage counts, what a power cut leaves; or `everything`, such as a
 * name whose file was not written any more. Throws TARGET_WRITE.
 */
export async function checkAndRepair(
  target: ToolTarget,
  { everything = false }: { everything?: boolean } = {},
): Promise<void> {
  await runE2fsck(target, [everything ? '-fy' : '-fp'])
}

async function runE2fsck(target: ToolTarget, args: readonly string[]): Promise<void> {
  const { status, said } = await runTool('e2fsck', [...args, diskOf(target)], target, [], [])
  // 1: it corrected what it was asked to.
  if (status > 1) throw e2fsckError(target, said, status)
}

function e2fsckError({ name }: ToolTarget, said: string, status: number): FluidError {
  return new FluidError('TARGET_WRITE', `e2fsck failed on ${name}: ${said || `status ${status}`}`)
}

/** A name as debugfs takes it. Throws GUEST_UNSUPPORTED for one that it would take for something else. */
export function quoted(name: string): string {
  // A quote would end the word, a control character the line; <12> is an inode's number.
  if (
    /[\x00-\x1f\x7f"/]/.test(name) ||
    name.startsWith('<') ||
    name === '' ||
    Buffer.byteLength(name) > 255
  ) {
    throw new FluidError(
      'GUEST_UNSUPPORTED',
      `A file of the guest cannot be called ${JSON.stringify(name.slice(0, 255))}`,
    )
  }
  return `"${name}"`
}

function diskOf({ offset }: ToolTarget): string {
  return `/proc/self/fd/${DISK_FD}?offset=${offset}`
}

async function runTool(
  program: string,
  args: readonly string[],
  { fd }: ToolTarget,
  files: readonly number[],
  commands: readonly string[],
): Promise<ToolEnd> {
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe', fd, ...files],
    env: {
      PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
      LC_ALL: 'C',
      DEBUGFS_PAGER: '__none__',
      PAGER: '__none__',
    },
    // Cut off halfway it would leave the file system inconsistent: only a hanging one is ended.
    timeout: GUEST_TOOL_TIMEOUT_MS,
    killSignal: 'SIGKILL',
    detached: true,
  }) as ChildProcessWithoutNullStreams
  const ended = Promise.withResolvers<ToolEnd>()
  let said = ''
  // It echoes the commands to its output; what is wrong stands in its errors.
  child.stdout.resume()
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-MAX_GUEST_TOOL_OUTPUT_BYTES)
  })
  child.on('error', (cause) => ended.reject(toolMissing(program, cause)))
  child.on('close', (status) => {
    const lines = said.split('\n').filter((line) => line !== '' && !/^(debugfs|e2fsck) \d/.test(line))
    ended.resolve({
      status: status ?? 128,
      said: lines.join('; ').slice(0, 1000),
    })
  })
  child.stdin.on('error', () => {})
  child.stdin.end(commands.map((command) => `${command}\n`).join(''))
  return ended.promise
}

function toolMissing(program: string, cause: Error): FluidError {
  return new FluidError('GUEST_UNSUPPORTED', `Cannot run ${program}: ${cause.message}`, {
    cause,
    hint: 'Install e2fsprogs on this machine: files inside disks are written with it',
  })
}
