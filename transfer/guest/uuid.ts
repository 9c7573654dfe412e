/** UUIDs as disks hold them, in the text form that fstab has them in: lower case. */

/** Sixteen bytes in order. */
export function uuidAt(bytes: Buffer, at: number): string {
  const hex = bytes.toString('hex', at, at + 16)
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** A GUID: its first three fields are little-endian. */
export function guidAt(bytes: Buffer, at: number): string {
  const swapped = Buffer.from(bytes.subarray(at, at + 16))
  swapped.subarray(0, 4).reverse()
  swapped.subarray(4, 6).reverse()
  swapped.subarray(6, 8).reverse()
  return uuidAt(swapped, 0)
}
