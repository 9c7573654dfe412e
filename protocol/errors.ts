/**
 * The one error class and its code table.
 *
 * Codes are API: scripts match on them. The table gives each code its meaning on the wire, whether
 * trying again can help, and the exit status of the command line. Messages are for people and may change.
 */

/** What a code means: its exit status, whether a retry can help, and a hint for a person. */
interface ErrorMeaning {
  /** Exit status of the command line. */
  readonly exit: number
  /** True when the same request can succeed later without anyone changing anything. */
  readonly retryable: boolean
  /** Number on the wire; never reused. */
  readonly wire: number
  /** What a person can do about it. */
  readonly hint: string
}

export const ERRORS = {
  UNEXPECTED: {
    wire: 1,
    exit: 1,
    retryable: false,
    hint: 'Run the command again with --verbose and report what it prints',
  },
  USAGE: { wire: 2, exit: 2, retryable: false, hint: 'See fluidcloud --help' },
  PARTIAL: {
    wire: 3,
    exit: 3,
    retryable: true,
    hint: 'Some of the work is done; run the command again for the rest',
  },
  POLICY_DENIED: {
    wire: 4,
    exit: 4,
    retryable: false,
    hint: 'Ask the owner of the target for a ticket or a policy that allows this',
  },
  APPROVAL_REJECTED: { wire: 5, exit: 4, retryable: false, hint: 'The owner of the target refused this job' },
  PEER_UNREACHABLE: {
    wire: 6,
    exit: 5,
    retryable: true,
    hint: 'Check that the peer runs and that its address can be reached from here',
  },
  TIMEOUT: {
    wire: 7,
    exit: 5,
    retryable: true,
    hint: 'The peer did not answer in time; it may be busy or the line may be cut',
  },
  LANE_FAILED: {
    wire: 8,
    exit: 5,
    retryable: true,
    hint: 'A data connection broke; the job opens another by itself',
  },
  VERIFY_MISMATCH: {
    wire: 9,
    exit: 6,
    retryable: false,
    hint: 'The bytes differ; nothing was put under its final name. Check the disks and memory of both machines',
  },
  CHUNK_DIGEST: { wire: 10, exit: 6, retryable: true, hint: 'A chunk arrived damaged and was not written' },
  SOURCE_CHANGED: {
    wire: 11,
    exit: 6,
    retryable: true,
    hint: 'The source is being written to; move a snapshot of it instead',
  },
  NO_SPACE: { wire: 12, exit: 7, retryable: true, hint: 'Free space at the target, then resume the job' },
  FORMAT_UNSUPPORTED: {
    wire: 13,
    exit: 7,
    retryable: false,
    hint: 'Install qemu-utils on this machine, or convert the image to raw first',
  },
  NAME_EXISTS: {
    wire: 14,
    exit: 7,
    retryable: false,
    hint: 'Choose another name, or say --replace to put the new version in its place',
  },
  NAME_INVALID: {
    wire: 15,
    exit: 4,
    retryable: false,
    hint: 'A destination is a name inside the granted folder, such as disk.raw',
  },
  NAME_BUSY: {
    wire: 16,
    exit: 7,
    retryable: true,
    hint: 'Another job writes this destination; wait for it or cancel it',
  },
  SOURCE_MISSING: {
    wire: 17,
    exit: 7,
    retryable: false,
    hint: 'Check the path of the source and that the agent may read it',
  },
  SOURCE_READ: {
    wire: 18,
    exit: 1,
    retryable: true,
    hint: 'The source could not be read there; check the disk (dmesg), then resume the job',
  },
  TARGET_WRITE: {
    wire: 19,
    exit: 1,
    retryable: true,
    hint: 'The target disk failed; what is staged is kept. Repair it, then resume the job',
  },
  TOO_LARGE: {
    wire: 20,
    exit: 4,
    retryable: false,
    hint: 'The grant allows less than this; ask the owner of the target for more',
  },
  NO_PATH: {
    wire: 21,
    exit: 7,
    retryable: true,
    hint: 'Neither side can open a data connection to the other; see fluidcloud doctor',
  },
  VERSION_UNSUPPORTED: { wire: 22, exit: 7, retryable: false, hint: 'Update the older of the two agents' },
  PROTOCOL_VIOLATION: {
    wire: 23,
    exit: 1,
    retryable: false,
    hint: 'The peer broke the protocol; it may be faulty or hostile',
  },
  LIMIT_EXCEEDED: {
    wire: 24,
    exit: 4,
    retryable: true,
    hint: 'The peer asked for more than the limits allow',
  },
  NOT_INITIALISED: { wire: 25, exit: 10, retryable: false, hint: 'Run fluidcloud init first' },
  ALREADY_INITIALISED: {
    wire: 26,
    exit: 2,
    retryable: false,
    hint: 'This home already has an identity; choose another with --home',
  },
  AGENT_NOT_RUNNING: { wire: 27, exit: 11, retryable: true, hint: 'Start it with fluidcloud agent' },
  STATE_LOCKED: {
    wire: 28,
    exit: 11,
    retryable: true,
    hint: 'Another agent uses this home; stop it or choose another with --home',
  },
  NOT_PAIRED: {
    wire: 29,
    exit: 12,
    retryable: false,
    hint: 'Pair first: fluidcloud pair ticket at the target, fluidcloud pair TICKET here',
  },
  TICKET_INVALID: {
    wire: 30,
    exit: 12,
    retryable: false,
    hint: 'Ask for a new ticket; it may be mistyped, expired or used up',
  },
  JOB_UNKNOWN: { wire: 31, exit: 2, retryable: false, hint: 'List the jobs with fluidcloud jobs' },
  JOB_STATE: {
    wire: 32,
    exit: 2,
    retryable: false,
    hint: 'The job is not in a state that allows this; see fluidcloud jobs',
  },
  CANCELLED: {
    wire: 33,
    exit: 130,
    retryable: false,
    hint: 'The job was cancelled; nothing was left at the target',
  },
  INTERRUPTED: { wire: 34, exit: 130, retryable: true, hint: 'Resume it with fluidcloud resume JOB' },
  CONFIG_INVALID: { wire: 35, exit: 2, retryable: false, hint: 'Correct the named key in config.toml' },
  STATE_DAMAGED: {
    wire: 36,
    exit: 1,
    retryable: false,
    hint: 'Restore the state folder from a backup, or move it away and pair again',
  },
  NO_MATCH: {
    wire: 37,
    exit: 7,
    retryable: true,
    hint: 'What each offer fails is listed; need less, or ask other brokers with --broker',
  },
  MACHINE_UNKNOWN: {
    wire: 38,
    exit: 7,
    retryable: false,
    hint: 'Check the name, and [clouds] in config.toml; the machine must be known to that cloud',
  },
  CLOUD_FAILED: {
    wire: 39,
    exit: 1,
    retryable: true,
    hint: 'The cloud refused or failed; what it said is in the message',
  },
  GUEST_UNSUPPORTED: {
    wire: 40,
    exit: 7,
    retryable: false,
    hint: 'This guest cannot be adapted as it is; nothing was touched',
  },
  MIGRATOR_FAILED: {
    wire: 41,
    exit: 1,
    retryable: false,
    hint: 'The Migrator broke its contract or failed; see its own output in the log of the agent that ran it',
  },
  HEALTH_FAILED: {
    wire: 42,
    exit: 1,
    retryable: true,
    hint: 'The service did not answer at the target in time; it runs at the source again',
  },
  NOT_CONVERGING: {
    wire: 43,
    exit: 7,
    retryable: true,
    hint: 'The machine writes faster than the line carries; allow a longer downtime, or try at a quieter hour',
  },
} as const satisfies Record<string, ErrorMeaning>

/** A stable error code; see {@link ERRORS}. */
export type ErrorCode = keyof typeof ERRORS

/** Facts beside the message: where, who, and what to do when the table's hint can be bettered. */
export interface ErrorDetails {
  readonly cause?: unknown
  readonly hint?: string
  readonly peer?: string
  readonly job?: string
  /** The peer said no before anything began: nothing was broken. */
  readonly refused?: boolean
  /** Byte offset in the volume the error speaks of. */
  readonly offset?: number
}

/** Every failure a user or peer may meet. Programmer mistakes are TypeError and RangeError. */
export class FluidError extends Error {
  override readonly name = 'FluidError'
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.details = details
  }

  get exit(): number {
    return ERRORS[this.code].exit
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }

  get hint(): string {
    return this.details.hint ?? ERRORS[this.code].hint
  }
}

/** The error itself when it is ours, else `code` around it as the cause. */
export function asFluidError(error: unknown, code: ErrorCode = 'UNEXPECTED'): FluidError {
  if (error instanceof FluidError) return error
  return new FluidError(code, error instanceof Error ? error.message : String(error), { cause: error })
}

/** The code a wire number stands for; UNEXPECTED when a newer peer sent one we do not know. */
export function codeOfWire(wire: number): ErrorCode {
  for (const [code, meaning] of Object.entries(ERRORS)) if (meaning.wire === wire) return code as ErrorCode
  return 'UNEXPECTED'
}
