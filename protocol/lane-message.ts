/** What a lane frame says, decoded and validated; chunks.md gives the meaning of each. */

export type Codec = 'raw' | 'zstd'

export type LaneMessage =
  | { readonly kind: 'open'; readonly token: Uint8Array; readonly lane: number }
  | {
      readonly kind: 'have'
      readonly window: number
      readonly start: number
      readonly end: number
      /** So many entries, from the first, follow at once. */
      readonly unasked?: number
    }
  | {
      readonly kind: 'want'
      readonly window: number
      readonly idlePermille: number
      /** Which of them have an older version at their place is said too. */
      readonly based?: true
    }
  | { readonly kind: 'blocks'; readonly window: number }
  | { readonly kind: 'want-blocks'; readonly window: number }
  | {
      readonly kind: 'data'
      readonly window: number
      readonly first: number
      readonly count: number
      readonly codec: Codec
      readonly rawBytes: number
    }
  | { readonly kind: 'error'; readonly code: number; readonly message: string }
  | { readonly kind: 'bye' }
