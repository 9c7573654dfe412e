/** True for equal contents, and for nothing twice. */
export function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (!a || !b) return a === b
  return Buffer.from(a.buffer, a.byteOffset, a.length).equals(b)
}
