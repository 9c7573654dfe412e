/** Bitmaps as lanes carry them: bit `index` is bit `index` mod 8, the least significant being 0, of byte `index` div 8. */

export function hasBit(bitmap: Uint8Array, index: number): boolean {
  return (bitmap[index >> 3] & (1 << (index & 7))) !== 0
}

export function setBit(bitmap: Uint8Array, index: number): void {
  bitmap[index >> 3] |= 1 << (index & 7)
}
