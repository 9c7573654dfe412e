/** Types of quick-start.js, which says what these are. */
export declare const ROOT: string
export declare const PACKED: string
export declare function startQuickly(env: NodeJS.ProcessEnv): void
export declare function installedState(): string
export declare function arePackagesPacked(): boolean

/** The index of what was packed, index.json in PACKED. */
export interface PackedIndex {
  /** installedState() when it was. */
  readonly installed: string
  /** What our files import, and the name of a file in PACKED. */
  readonly files: Readonly<Record<string, string>>
}
