/**
 * The scanner's inner loops, in AssemblyScript, which compiles them to WebAssembly SIMD.
 *
 * Three functions over one memory: where zeros end, where data ends, where a chunk ends. Stateless but for
 * resumeAt(). What they compute is defined in plain code in test/helpers/reference-chunker.ts, and the
 * search for cuts is FastCDC (Xia et al., USENIX ATC 2016), with normalized chunking, in a form that suits SIMD:
 *
 * 1. Candidates. Each byte b has a gear value g(b) of 8 bits. The gear hash at position i is
 *      h(i) = g(b[i]) + 2 g(b[i-1]) + 4 g(b[i-2]) + ... + 128 g(b[i-7])   (mod 256)
 *    It sees 8 bytes, as older ones are shifted out. Position i is a candidate when h(i) = 0: one in 256.
 *    The sum of 8 terms is built by doubling its reach three times, 16 positions at once:
 *      a(i) = g(i) + 2 g(i-1)      reaches 2 bytes
 *      b(i) = a(i) + 4 a(i-2)      reaches 4
 *      h(i) = b(i) + 16 b(i-4)     reaches 8
 *    "i-1" is a shuffle of this vector with the one before it. g itself is two tables of 16 entries, one for each
 *    half of the byte: g(b) = LOW[b & 15] + HIGH[b >> 4], because a swizzle looks up 16 entries at once.
 *    In a run of one byte h = 255 g(b), so the tables are such that g is never 0: constant data has no candidates.
 *
 * 2. Decision. At a candidate the last 32 bytes are mixed by four 64-bit multiplications, and it is a cut when
 *    the top bits are 0: 8 bits before the normal size (one position in 2^16), 6 bits after it (one in 2^14).
 *
 * Nothing before the chunk's own start is looked at: the search begins at `min`, more than 32 bytes in. It goes
 * in whole blocks of 64 bytes counted from there, so the last few bytes of a run are never cut off from it.
 * All loads stay inside [start, start + available), but for the tables below.
 */

const BLOCK: usize = 64
/** Unit of holes; HOLE_BLOCK_BYTES in protocol/limits.ts. */
const HOLE_BLOCK: usize = 4096

/**
 * LOW, HIGH, and the mask of a nibble. In memory, because V8 makes a vector constant anew, from two integers, each time
 * round the loop; what was loaded before the loop stays in a register. A third of the search was that.
 */
const TABLES: usize = memory.data<u8>([
  29, 139, 83, 230, 58, 199, 148, 111, 41, 178, 216, 69, 251, 112, 14, 161,
  157, 52, 235, 82, 23, 200, 110, 243, 11, 186, 133, 65, 124, 214, 47, 160,
  15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
], 16)

/** Top bits of the mix that must be 0 before and after the normal size, as right shifts. */
const STRICT_SHIFT: u64 = 64 - 8
const LOOSE_SHIFT: u64 = 64 - 6

let resume: u32 = 0

/** Where cut() stopped when it last returned 0: pass it back as `from`. */
export function resumeAt(): u32 {
  return resume
}

/**
 * Bytes of whole zero blocks from `start` on. A block ends where (address + skew) is a multiple of 4096, or at `end`.
 */
export function zeros(start: usize, end: usize, skew: usize): usize {
  let at = start
  while (at < end) {
    const next = blockEnd(at, end, skew)
    if (!isZero(at, next)) break
    at = next
  }
  return at - start
}

/** Bytes of blocks that are not all zero from `start` on; blocks as in zeros(). */
export function data(start: usize, end: usize, skew: usize): usize {
  let at = start
  while (at < end) {
    const next = blockEnd(at, end, skew)
    if (isZero(at, next)) break
    at = next
  }
  return at - start
}

/**
 * Length of the chunk at `start`, of which `available` bytes are there, or 0 when it takes more bytes to tell.
 * `closed` says no more will come. `from` is 0, or resumeAt() after a call for the same chunk that returned 0.
 * `min`, `normal` and `max` are multiples of 64, and min >= 64.
 */
export function cut(
  start: usize, available: usize, from: usize, closed: bool, min: usize, normal: usize, max: usize,
): usize {
  const full = available >= max
  const length = full ? max : available
  let at = from > min ? from : min
  if (length > at) {
    const end = start + length
    const turn = start + normal
    const strictEnd = turn < end ? turn : end
    at += start
    const low = v128.load(TABLES, 0)
    const high = v128.load(TABLES, 16)
    const nibble = v128.load(TABLES, 32)
    // The three sums of the 16 bytes before the first block, as far as the next vector needs them.
    let g = gear(v128.load(at - 16), low, high, nibble)
    let a = i8x16.add(g, times2(before1(i8x16.splat(0), g)))
    let b = i8x16.add(a, times4(before2(i8x16.splat(0), a)))
    let shift = at < turn ? STRICT_SHIFT : LOOSE_SHIFT
    let stop = at < turn ? strictEnd : end
    while (true) {
      if (at + BLOCK > stop) {
        if (stop == end) break
        shift = LOOSE_SHIFT
        stop = end
        continue
      }
      const g0 = gear(v128.load(at, 0), low, high, nibble)
      const a0 = i8x16.add(g0, times2(before1(g, g0)))
      const b0 = i8x16.add(a0, times4(before2(a, a0)))
      const c0 = isCandidate(b0, before4(b, b0), nibble)

      const g1 = gear(v128.load(at, 16), low, high, nibble)
      const a1 = i8x16.add(g1, times2(before1(g0, g1)))
      const b1 = i8x16.add(a1, times4(before2(a0, a1)))
      const c1 = isCandidate(b1, before4(b0, b1), nibble)

      const g2 = gear(v128.load(at, 32), low, high, nibble)
      const a2 = i8x16.add(g2, times2(before1(g1, g2)))
      const b2 = i8x16.add(a2, times4(before2(a1, a2)))
      const c2 = isCandidate(b2, before4(b1, b2), nibble)

      const g3 = gear(v128.load(at, 48), low, high, nibble)
      const a3 = i8x16.add(g3, times2(before1(g2, g3)))
      const b3 = i8x16.add(a3, times4(before2(a2, a3)))
      const c3 = isCandidate(b3, before4(b2, b3), nibble)

      if (v128.any_true(v128.or(v128.or(c0, c1), v128.or(c2, c3)))) {
        let candidates = <u64>i8x16.bitmask(c0) | (<u64>i8x16.bitmask(c1) << 16)
          | (<u64>i8x16.bitmask(c2) << 32) | (<u64>i8x16.bitmask(c3) << 48)
        while (candidates) {
          const last = at + <usize>ctz(candidates)
          if (mix(last) >> shift == 0) return last + 1 - start
          candidates &= candidates - 1
        }
      }
      g = g3
      a = a3
      b = b3
      at += BLOCK
    }
    at -= start
  }
  if (closed || full) return length
  resume = <u32>at
  return 0
}

/** The 32 bytes that end with the one at `last`, mixed; the top bits depend on all of them. */
@inline
function mix(last: usize): u64 {
  let v: u64 = load<u64>(last - 7) * 0x9E3779B97F4A7C15
  v = ((v ^ (v >> 32)) + load<u64>(last - 15)) * 0xBF58476D1CE4E5B9
  v = ((v ^ (v >> 32)) + load<u64>(last - 23)) * 0x94D049BB133111EB
  return ((v ^ (v >> 32)) + load<u64>(last - 31)) * 0xD6E8FEB86659FD93
}

/** g() of 16 bytes. */
@inline
function gear(bytes: v128, low: v128, high: v128, nibble: v128): v128 {
  // All indices are below 16: there the relaxed form is defined, and it is one instruction instead of two.
  return i8x16.add(
    i8x16.relaxed_swizzle(low, v128.and(bytes, nibble)),
    i8x16.relaxed_swizzle(high, v128.and(i16x8.shr_u(bytes, 4), nibble)),
  )
}

/** For each position, the value 1, 2 or 4 positions before it; `earlier` is the vector that comes before `these`. */
@inline
function before1(earlier: v128, these: v128): v128 {
  return i8x16.shuffle(earlier, these, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30)
}
@inline
function before2(earlier: v128, these: v128): v128 {
  return i8x16.shuffle(earlier, these, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29)
}
@inline
function before4(earlier: v128, these: v128): v128 {
  return i8x16.shuffle(earlier, these, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27)
}

// There is no multiplication and no cheap shift of bytes: additions, and a 16-bit shift behind a mask.
@inline
function times2(v: v128): v128 {
  return i8x16.add(v, v)
}
@inline
function times4(v: v128): v128 {
  return times2(times2(v))
}

/** Lanes of ones where b(i) + 16 b(i-4) is 0. */
@inline
function isCandidate(b: v128, bBefore4: v128, nibble: v128): v128 {
  const times16 = i16x8.shl(v128.and(bBefore4, nibble), 4)
  return i8x16.eq(i8x16.add(b, times16), i8x16.splat(0))
}

@inline
function blockEnd(at: usize, end: usize, skew: usize): usize {
  const next = ((at + skew) | (HOLE_BLOCK - 1)) + 1 - skew
  return next < end ? next : end
}

function isZero(start: usize, end: usize): bool {
  let at = start
  for (; at + BLOCK <= end; at += BLOCK) {
    const any = v128.or(
      v128.or(v128.load(at, 0), v128.load(at, 16)),
      v128.or(v128.load(at, 32), v128.load(at, 48)),
    )
    if (v128.any_true(any)) return false
  }
  for (; at < end; at++) if (load<u8>(at)) return false
  return true
}
