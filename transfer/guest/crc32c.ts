/** CRC-32C as ext4 and its journal use it: started with a seed, and not inverted at the end. */

const POLYNOMIAL = 0x82f6_3b78
/** Four tables: one step takes four bytes. */
const TABLES = makeTables()

/** The checksum of `bytes`, going on from `seed` (0xffffffff to begin with). */
export function crc32c(seed: number, bytes: Uint8Array): number {
  const [t0, t1, t2, t3] = TABLES
  let crc = seed >>> 0
  let at = 0
  for (; at + 4 <= bytes.length; at += 4) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
    crc = t3[crc & 0xff] ^ t2[(crc >>> 8) & 0xff] ^ t1[(crc >>> 16) & 0xff] ^ t0[crc >>> 24]
  }
  for (; at < bytes.length; at++) crc = t0[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8)
  return crc >>> 0
}

function makeTables(): Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, index) => {
    let value = index
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1
    return value
  })
  const tables = [first]
  for (let table = 1; table < 4; table++) {
    const before = tables[table - 1]
    tables.push(before.map((value) => (value >>> 8) ^ first[value & 0xff]))
  }
  return tables
}
