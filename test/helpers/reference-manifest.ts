/** The manifest of a volume as chunks.md defines it, from its bytes alone: what every run of the engine must come to. */
import { createRoot, writeEntry, ENTRY_BYTES } from '../../protocol/manifest.ts'
import { WINDOW_BYTES } from '../../protocol/limits.ts'
import { digestOf } from '../../transfer/hasher.ts'
import { referenceFastCdc } from './reference-chunker.ts'

export const CHUNKING = 'fastcdc-v1/32768-65536-262144'

/** All entries of the volume, and its root. */
export function referenceManifest(bytes: Uint8Array): { entries: Uint8Array; root: Uint8Array } {
  const chunks: { offset: number; length: number }[] = []
  for (let cell = 0; cell < bytes.length; cell += WINDOW_BYTES) {
    for (const { offset, length } of referenceFastCdc(bytes.subarray(cell, cell + WINDOW_BYTES), cell)) {
      chunks.push({ offset: cell + offset, length })
    }
  }
  const entries = new Uint8Array(chunks.length * ENTRY_BYTES)
  for (const [i, { offset, length }] of chunks.entries()) {
    writeEntry(entries, i, offset, length, digestOf(bytes.subarray(offset, offset + length)))
  }
  const root = createRoot(bytes.length, CHUNKING)
  root.update(entries)
  return { entries, root: root.digest() }
}
