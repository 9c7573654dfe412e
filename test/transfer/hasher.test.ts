import test from 'ava'
import { digestInto, digestOf } from '../../transfer/hasher.ts'

/** Input of the official test vectors: 0, 1, ... 250, 0, 1, ... (github.com/BLAKE3-team/BLAKE3, test_vectors.json). */
const vectorInput = (length: number) => Uint8Array.from({ length }, (_, i) => i % 251)
const VECTORS: readonly [number, string][] = [
  [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
  [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
  [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
  [102400, 'bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085'],
]

for (const [length, digest] of VECTORS) {
  test(`digestInto() gives the official digest of ${length} bytes`, (t) => {
    const out = Buffer.alloc(96, 0xee)
    digestInto(vectorInput(length), out, 32)
    t.is(out.toString('hex', 32, 64), digest)
    t.is(out.toString('hex', 0, 32) + out.toString('hex', 64), 'ee'.repeat(64))
    t.is(digestOf(vectorInput(length)).toString('hex'), digest)
  })
}

test('digestInto() reads views of WebAssembly memory', (t) => {
  const memory = new WebAssembly.Memory({ initial: 1 })
  const view = new Uint8Array(memory.buffer, 100, 1024)
  view.set(vectorInput(1024))
  const out = Buffer.alloc(32)
  digestInto(view, out, 0)
  t.is(out.toString('hex'), VECTORS[2][1])
})

test('digestInto() refuses to write beyond its target', (t) => {
  t.throws(() => digestInto(vectorInput(1), Buffer.alloc(40), 9), { instanceOf: RangeError })
  t.throws(() => digestInto(vectorInput(1), Buffer.alloc(40), -1), { instanceOf: RangeError })
})
