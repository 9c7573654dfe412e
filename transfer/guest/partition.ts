/** One partition of a disk, as an MBR or a GPT has it. */
export interface Partition {
  /** As Linux counts: vda1 is 1; logical ones start at 5. */
  readonly number: number
  /** Bytes from the start of the disk. */
  readonly offset: number
  readonly sizeBytes: number
  /** Two hex digits of an MBR type, or the UUID of a GPT one, lower case. */
  readonly type: string
  /** What PARTUUID= means, lower case. */
  readonly uuid: string
  /** PARTLABEL=, GPT only. */
  readonly name?: string
  /** The firmware's or the boot code's mark: active, or legacy BIOS bootable. */
  readonly active: boolean
}
