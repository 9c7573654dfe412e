/** What is measured, against what, and what comes out: the interface that all contenders implement. */
import type { Line } from './line.ts'

/** One move. */
export interface Task {
  readonly source: string
  /** A version that the target holds under the same name before. */
  readonly held?: string
  /** New folder for homes, keys and target; the caller removes it. */
  readonly folder: string
  readonly line: Line
}

/** One run's figures. Processor time is of both ends together, children included. */
export interface Figures {
  /** From the start of the command to its end. */
  readonly seconds: number
  /** Of them, those the job itself took; undefined when the contender does not tell. */
  readonly jobSeconds?: number
  readonly cpuSeconds: number
  /** Both directions, with all headers, as the line counts them. */
  readonly wireBytes: number
  /** What the contender itself says it sent and received. */
  readonly toldWireBytes?: number
  /** Of the largest process. */
  readonly peakRssBytes: number
  /** Of our two agents each. */
  readonly senderRssBytes?: number
  readonly receiverRssBytes?: number
}

/** A run: its figures, and where the moved disk is. */
export interface Run extends Figures {
  /** Undefined when the target is a store of the contender's own. */
  readonly target?: string
}

/** What a user gets beside the bytes. */
export interface Traits {
  /** Every byte is compared with a digest made at the source. */
  readonly verified: boolean
  readonly encrypted: boolean
  /** Started again after a kill, it does not begin anew. */
  readonly resumable: boolean
}

export interface Contender {
  readonly name: string
  /** Programs it needs. */
  readonly needs: readonly string[]
  /** What else it needs and is not there, or undefined. */
  missing?(): string | undefined
  readonly traits: Traits
  /** Runs once, unless the user asks for more. */
  readonly slow?: boolean
  move(task: Task): Promise<Run>
}
