/**
 * What a Migrator is: one task of a relocation, with a name, a version, and what it accepts and produces. The contract
 * for third parties is migrators/migrators.md; the Broker chains Migrators by `accepts` and `produces`.
 */
import type { FileChange, GuestFiles } from './guest-files.ts'

/** What every Migrator declares. */
export interface MigratorFacts {
  /** 1 to 64 of a-z, 0-9 and '-'. */
  readonly name: string
  /** Semantic version; a step planned with another major is refused. */
  readonly version: string
  /** Kinds of what goes in and comes out, such as disk/qcow2, guest/linux, machine/qemu. */
  readonly accepts: readonly string[]
  readonly produces: readonly string[]
}

export interface MigratorContext {
  readonly signal: AbortSignal
  /** The machine it is asked for, as it will be at the target. */
  readonly machine: { readonly name: string; readonly macs: readonly string[] }
}

/**
 * A Migrator that edits files of a guest. It only reads: what it would change it returns, so the same run is preview at the
 * source and plan at the target; who runs it applies the changes, compares `before` first, and keeps it as the undo.
 */
export interface EditMigrator extends MigratorFacts {
  /** Throws USAGE with the key that is wrong. */
  check(input: unknown): void
  /** In order; one change a path. Throws GUEST_UNSUPPORTED when this guest cannot be edited so. */
  changes(guest: GuestFiles, input: unknown, context: MigratorContext): Promise<FileChange[]>
  /**
   * Run at the target before cut-over, where there is one: proves that what the changes lead to can be reached from there.
   * Throws MIGRATOR_FAILED with what cannot, and without any secret.
   */
  testAccess?(input: unknown, options: AccessOptions): Promise<void>
}

export interface AccessOptions {
  readonly signal: AbortSignal
  /** Whether an IP address may be connected to at that port; asked of every one, after names are resolved. */
  mayAsk(address: string, port: number): boolean
}
