/**
 * QR codes of short texts, for a peer's address on a screen (ISO/IEC 18004, byte mode, error correction level M,
 * versions 1 to 10: at most 213 bytes).
 */
import type { Style } from './style.ts'

// Tables 7 and 9 of the standard, level M, for versions 1 to 10.
const TOTAL_CODEWORDS = [26, 44, 70, 100, 134, 172, 196, 242, 292, 346]
const CHECK_CODEWORDS_PER_BLOCK = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26]
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5]
const QUIET_MODULES = 2

const MASKS: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
]

/** Rows of modules, true where dark; undefined when `text` has more than 213 bytes. */
export function createQr(text: string): boolean[][] | undefined {
  const bytes = Buffer.from(text)
  const version =
    TOTAL_CODEWORDS.findIndex(
      (_, index) => bytes.length + headerBytes(index + 1) <= dataCodewords(index + 1),
    ) + 1
  if (version === 0) return undefined
  const codewords = interleave(encode(bytes, version), version)
  const candidates = MASKS.map((_, mask) => draw(codewords, version, mask))
  return candidates.reduce((best, each) => (penalty(each) < penalty(best) ? each : best))
}

/** The code in half blocks, light on dark as most terminals are; each line ends with a newline. */
export function formatQr(modules: readonly boolean[][], style: Style): string {
  const size = modules.length
  const light = (x: number, y: number): boolean => !modules[y]?.[x]
  const lines: string[] = []
  for (let y = -QUIET_MODULES; y < size + QUIET_MODULES; y += style.unicode ? 2 : 1) {
    let line = ''
    for (let x = -QUIET_MODULES; x < size + QUIET_MODULES; x++) {
      if (!style.unicode) line += light(x, y) ? '##' : '  '
      else line += light(x, y) ? (light(x, y + 1) ? '█' : '▀') : light(x, y + 1) ? '▄' : ' '
    }
    lines.push(style.color ? `\x1b[97;40m${line}\x1b[0m` : line)
  }
  return lines.map((line) => `${line}\n`).join('')
}

/** Mode and length: 4 bits and 8, or 16 from version 10 on; rounded up with the terminator. */
function headerBytes(version: number): number {
  return version < 10 ? 2 : 3
}

function dataCodewords(version: number): number {
  return TOTAL_CODEWORDS[version - 1] - CHECK_CODEWORDS_PER_BLOCK[version - 1] * BLOCKS[version - 1]
}

function encode(bytes: Uint8Array, version: number): number[] {
  const bits: number[] = []
  const push = (value: number, length: number): void => {
    for (let bit = length - 1; bit >= 0; bit--) bits.push((value >>> bit) & 1)
  }
  push(0b0100, 4)
  push(bytes.length, version < 10 ? 8 : 16)
  for (const byte of bytes) push(byte, 8)
  push(0, Math.min(4, dataCodewords(version) * 8 - bits.length))
  while (bits.length % 8 !== 0) bits.push(0)
  const codewords: number[] = []
  for (let at = 0; at < bits.length; at += 8) codewords.push(parseInt(bits.slice(at, at + 8).join(''), 2))
  for (let filler = 0xec; codewords.length < dataCodewords(version); filler ^= 0xec ^ 0x11)
    codewords.push(filler)
  return codewords
}

/** Splits into blocks, adds check codewords to each, and deals them out in turn. */
function interleave(data: number[], version: number): number[] {
  const blocks = BLOCKS[version - 1]
  const checkLength = CHECK_CODEWORDS_PER_BLOCK[version - 1]
  const shortLength = Math.floor(data.length / blocks)
  const shortBlocks = blocks - (data.length % blocks)
  const divisor = generator(checkLength)
  const parts: { data: number[]; check: number[] }[] = []
  for (let block = 0, at = 0; block < blocks; block++) {
    const part = data.slice(at, (at += shortLength + (block < shortBlocks ? 0 : 1)))
    parts.push({ data: part, check: remainder(part, divisor) })
  }
  const dealt: number[] = []
  for (let index = 0; index <= shortLength; index++) {
    for (const part of parts) if (index < part.data.length) dealt.push(part.data[index])
  }
  for (let index = 0; index < checkLength; index++) for (const part of parts) dealt.push(part.check[index])
  return dealt
}

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function multiply(a: number, b: number): number {
  let product = 0
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ ((product >>> 7) * 0x11d)
    product ^= ((b >>> bit) & 1) * a
  }
  return product
}

function generator(degree: number): number[] {
  const result = Array<number>(degree).fill(0)
  result[degree - 1] = 1
  for (let step = 0, root = 1; step < degree; step++, root = multiply(root, 2)) {
    for (let at = 0; at < degree; at++) result[at] = multiply(result[at], root) ^ (result[at + 1] ?? 0)
  }
  return result
}

function remainder(data: number[], divisor: number[]): number[] {
  const result = divisor.map(() => 0)
  for (const byte of data) {
    const factor = byte ^ result.shift()!
    result.push(0)
    for (const [at, coefficient] of divisor.entries()) result[at] ^= multiply(coefficient, factor)
  }
  return result
}

function draw(codewords: number[], version: number, mask: number): boolean[][] {
  const size = 17 + 4 * version
  const modules = Array.from({ length: size }, () => Array<boolean>(size).fill(false))
  const fixed = Array.from({ length: size }, () => Array<boolean>(size).fill(false))
  const set = (x: number, y: number, dark: boolean): void => {
    if (x < 0 || y < 0 || x >= size || y >= size) return
    modules[y][x] = dark
    fixed[y][x] = true
  }
  for (let at = 0; at < size; at++) {
    set(6, at, at % 2 === 0)
    set(at, 6, at % 2 === 0)
  }
  const square = (cx: number, cy: number, radius: number, isDark: (ring: number) => boolean): void => {
    for (let dy = -radius; dy <= radius; dy++) {
      for (let dx = -radius; dx <= radius; dx++)
        set(cx + dx, cy + dy, isDark(Math.max(Math.abs(dx), Math.abs(dy))))
    }
  }
  for (const [cx, cy] of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ])
    square(cx, cy, 4, (ring) => ring !== 2 && ring !== 4)
  for (const [cx, cy] of alignments(version)) square(cx, cy, 2, (ring) => ring !== 1)
  drawFormat(set, size, mask)
  if (version >= 7) drawVersion(set, size, version)
  placeBits(codewords, modules, fixed)
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) if (!fixed[y][x] && MASKS[mask](x, y)) modules[y][x] = !modules[y][x]
  }
  return modules
}

/** Centres of the alignment patterns: a grid without the three corners where the finders are. */
function alignments(version: number): [number, number][] {
  if (version === 1) return []
  const last = 10 + 4 * version
  const positions = version < 7 ? [6, last] : [6, (6 + last) / 2, last]
  const all = positions.flatMap((x) => positions.map((y) => [x, y] as [number, number]))
  return all.filter(([x, y]) => !(x === 6 && (y === 6 || y === last)) && !(x === last && y === 6))
}

type Set = (x: number, y: number, dark: boolean) => void

function drawFormat(set: Set, size: number, mask: number): void {
  // Level M is 00; ten BCH bits follow, then the fixed mask.
  let rest = mask
  for (let bit = 0; bit < 10; bit++) rest = (rest << 1) ^ ((rest >>> 9) * 0x537)
  const bits = ((mask << 10) | rest) ^ 0x5412
  const dark = (at: number): boolean => ((bits >>> at) & 1) === 1
  for (let at = 0; at <= 5; at++) set(8, at, dark(at))
  set(8, 7, dark(6))
  set(8, 8, dark(7))
  set(7, 8, dark(8))
  for (let at = 9; at < 15; at++) set(14 - at, 8, dark(at))
  for (let at = 0; at < 8; at++) set(size - 1 - at, 8, dark(at))
  for (let at = 8; at < 15; at++) set(8, size - 15 + at, dark(at))
  set(8, size - 8, true)
}

function drawVersion(set: Set, size: number, version: number): void {
  let rest = version
  for (let bit = 0; bit < 12; bit++) rest = (rest << 1) ^ ((rest >>> 11) * 0x1f25)
  const bits = (version << 12) | rest
  for (let at = 0; at < 18; at++) {
    const dark = ((bits >>> at) & 1) === 1
    const near = Math.floor(at / 3)
    const far = size - 11 + (at % 3)
    set(far, near, dark)
    set(near, far, dark)
  }
}

/** Two columns at a time from the right, up and down in turn. */
function placeBits(codewords: number[], modules: boolean[][], fixed: boolean[][]): void {
  const size = modules.length
  let at = 0
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5
    const upward = ((right + 1) & 2) === 0
    for (let step = 0; step < size; step++) {
      const y = upward ? size - 1 - step : step
      for (const x of [right, right - 1]) {
        if (fixed[y][x] || at >= codewords.length * 8) continue
        modules[y][x] = ((codewords[at >>> 3] >>> (7 - (at & 7))) & 1) === 1
        at++
      }
    }
  }
}

/** How hard the code is to read: long runs, squares, false finders, imbalance (section 7.8.3). */
function penalty(modules: boolean[][]): number {
  const size = modules.length
  const columns = modules.map((_, x) => modules.map((row) => row[x]))
  let points = 0
  for (const line of [...modules, ...columns]) {
    const text = line.map(Number).join('')
    for (const [run] of text.matchAll(/0{5,}|1{5,}/g)) points += run.length - 2
    for (let at = 0; at + 11 <= size; at++) {
      const part = text.slice(at, at + 11)
      if (part === '10111010000' || part === '00001011101') points += 40
    }
  }
  let dark = 0
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (modules[y][x]) dark++
      if (x + 1 < size && y + 1 < size) {
        const same = [modules[y][x + 1], modules[y + 1][x], modules[y + 1][x + 1]].every(
          (each) => each === modules[y][x],
        )
        if (same) points += 3
      }
    }
  }
  return points + Math.floor(Math.abs((dark * 100) / (size * size) - 50) / 5) * 10
}
