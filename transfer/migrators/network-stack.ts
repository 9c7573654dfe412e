/** What adapt-guest needs of each way to configure a guest's network. */
import type { GuestDraft } from './guest-draft.ts'
import type { InterfaceInput } from './network-input.ts'

/** One way to configure interfaces. */
export interface NetworkStack {
  readonly name: string
  /** What it configures in this guest: a name, a MAC address, or both. */
  find(draft: GuestDraft): Promise<ConfiguredInterface[]>
  /** Changes the configuration of one of those found. */
  adapt(draft: GuestDraft, found: ConfiguredInterface, wanted: InterfaceInput): Promise<void>
}

export interface ConfiguredInterface {
  /** Undefined: told by its MAC address alone. */
  readonly name?: string
  readonly mac?: string
  /** The file, and what the stack needs to find it there again. */
  readonly path: string
  readonly id: string
}
