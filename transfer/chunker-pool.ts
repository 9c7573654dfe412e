/**
 * Chunkers of one thread, lent to a lane and used again: a fresh one costs WINDOWS_PER_LANE windows of memory, all of
 * it page faults, and is freed only when the garbage collector feels like it.
 */
import { createChunker, type Chunker, type Chunking } from './chunker.ts'

/** Chunkers kept for later. */
const KEPT = 4

export interface ChunkerPool {
  /** A chunker with `windows` slots; dispose the loan to give it back. */
  borrow(windows: number, chunking: Chunking): { readonly chunker: Chunker } & Disposable
}

export function createChunkerPool(): ChunkerPool {
  const idle: { windows: number; chunker: Chunker }[] = []
  return {
    borrow(windows, chunking) {
      const at = idle.findIndex((kept) => kept.windows === windows && kept.chunker.chunking === chunking)
      const chunker = at === -1 ? createChunker(windows, { chunking }) : idle.splice(at, 1)[0].chunker
      let lent = true
      return {
        chunker,
        [Symbol.dispose]() {
          if (lent && idle.length < KEPT) idle.push({ windows, chunker })
          lent = false
        },
      }
    },
  }
}
