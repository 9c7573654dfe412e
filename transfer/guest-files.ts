/** Files inside a machine's disk, as Migrators read them: from a snapshot, or from a target that no machine uses yet. */

/** What a path inside a guest is. Absolute paths of the guest; links are not followed unless said so. */
export interface GuestEntry {
  readonly kind: 'file' | 'directory' | 'link' | 'other'
  readonly sizeBytes: number
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Where a link leads, as it is written in it. */
  readonly linksTo?: string
}

/** Reading. Links are followed within the guest; none leads out of it. */
export interface GuestFiles extends AsyncDisposable {
  /** Undefined when there is nothing. */
  entry(path: string): Promise<GuestEntry | undefined>
  /** The whole file; undefined when there is none. Throws LIMIT_EXCEEDED above `maxBytes` (default MAX_GUEST_FILE_BYTES). */
  read(path: string, options?: { maxBytes?: number }): Promise<Uint8Array | undefined>
  /** Names in a folder, in order; empty when there is none. */
  list(path: string): Promise<string[]>
}

/** Reading and writing, for disks of the target that no machine uses. */
export interface WritableGuestFiles extends GuestFiles {
  /**
   * Makes or replaces a file whole; what existed keeps its owner and mode unless given, what did not is root's, 0644.
   * Missing folders above it are made, root's, 0755. Through a link the file it leads to is written.
   */
  write(
    path: string,
    bytes: Uint8Array,
    options?: { mode?: number; uid?: number; gid?: number },
  ): Promise<void>
  /** Removes a file, or a link and not what it leads to; fine when there is none. */
  remove(path: string): Promise<void>
  /** Everything written has reached the disk. */
  sync(): Promise<void>
}

/** One change to one file, before it happens. */
export interface FileChange {
  readonly path: string
  /** What is there now; undefined: nothing. */
  readonly before?: Uint8Array
  /** What will be there; undefined: removed. */
  readonly after?: Uint8Array
  /** Permission bits for a file that is made; default 0644. */
  readonly mode?: number
  /** Owner of a file that is made; default root. */
  readonly uid?: number
  readonly gid?: number
  /** True: neither content is ever shown, kept in logs, or sent elsewhere. */
  readonly secret?: boolean
  /** What it does, for people and without secrets, such as `S3_ENDPOINT = https://b.example`; shown where content is not. */
  readonly note?: string
}
