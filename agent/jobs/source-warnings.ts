/** What an operator should know of a source before it moves. */
import { isNbdUrl } from '../../transfer/backends/nbd-url.ts'

/** Sentences for people; none for most sources. */
export function sourceWarnings(source: string): string[] {
  // The protocol of NBD knows sizes, and nothing like a modification time.
  return isNbdUrl(source)
    ? [
        'An NBD export cannot tell whether it changes meanwhile: let nobody write to it until the move is complete, or verify afterwards',
      ]
    : []
}
