import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { decodeAgreement } from '../../protocol/agreement.ts'
import { decodeCatalog } from '../../protocol/catalog-codec.ts'
import { decodeOffer, decodeSignedOffer } from '../../protocol/catalog-offer.ts'
import { decodeLaneHeader, parseLanePrefix } from '../../protocol/codec.ts'
import { decodeControl } from '../../protocol/control-codec.ts'
import { FluidError } from '../../protocol/errors.ts'
import { createFrameReader } from '../../protocol/frame-reader.ts'
import { validateWindowEntries } from '../../protocol/manifest.ts'
import { decodePairing } from '../../protocol/pairing-codec.ts'
import { decodeRelocation } from '../../protocol/relocation-codec.ts'
import { decodeBody } from '../../protocol/relocation-signed.ts'
import { decodeReceipt } from '../../protocol/receipt.ts'
import { parseTicket } from '../../protocol/ticket.ts'
import { SAMPLES } from './samples.ts'

type Decoder = (bytes: Uint8Array) => unknown

const DECODERS: Record<string, Decoder> = {
  decodeControl,
  decodeLaneHeader,
  decodePairing,
  decodeCatalog,
  decodeOffer,
  decodeSignedOffer,
  decodeAgreement,
  decodeReceipt,
  decodeRelocation,
  decodePlan: (bytes) => decodeBody('plan', bytes),
  decodeOutcome: (bytes) => decodeBody('outcome', bytes),
  parseLanePrefix: (bytes) => parseLanePrefix(bytes),
  validateWindowEntries: (bytes) => validateWindowEntries(bytes, 0, 2 ** 40),
  createFrameReader: (bytes) => createFrameReader(1000).push(bytes),
  parseTicket: (bytes) => parseTicket(`fluid1${Buffer.from(bytes).toString('latin1')}`),
}

/** Decodes, or refuses with a code; anything else is a bug. */
function survives(t: ExecutionContext, decode: Decoder, bytes: Uint8Array): void {
  try {
    decode(bytes)
    t.pass()
  } catch (error) {
    t.true(error instanceof FluidError, `${String(error)} for ${Buffer.from(bytes).toString('hex')}`)
  }
}

for (const [name, decode] of Object.entries(DECODERS)) {
  test(`${name}() decodes or refuses random bytes`, (t) => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 400 }), (bytes) => survives(t, decode, bytes)),
      { numRuns: 2000 },
    )
  })
}

for (const { name, encode, decode } of SAMPLES) {
  test(`decoding ${name} with bytes changed, cut out or put in ends well`, (t) => {
    const sound = encode()
    const change = fc.record({
      at: fc.nat(sound.length - 1),
      drop: fc.nat(4),
      put: fc.uint8Array({ maxLength: 4 }),
    })
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        let bytes: Uint8Array = sound
        for (const { at, drop, put } of changes) {
          bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + drop)])
        }
        survives(t, bodyOnly(name, decode), bytes)
      }),
      { numRuns: 300 },
    )
  })
}

/** The samples' own unframing throws RangeError or hands over nothing when a frame is cut: that is not under test. */
function bodyOnly(name: string, decode: Decoder): Decoder {
  if (name.startsWith('chunks-')) return (bytes) => bytes.length > 8 && decodeLaneHeader(bytes.subarray(8))
  if (name.startsWith('viaduct-')) return (bytes) => createFrameReader(2000).push(bytes).map(decodeControl)
  if (name.startsWith('pairing-')) return (bytes) => createFrameReader(2000).push(bytes).map(decodePairing)
  if (name.startsWith('catalog-')) return (bytes) => createFrameReader(2000).push(bytes).map(decodeCatalog)
  if (name.startsWith('relocation-'))
    return (bytes) => createFrameReader(2000).push(bytes).map(decodeRelocation)
  return decode
}

test('decodeControl() survives groups nested deeply', (t) => {
  survives(t, decodeControl, new Uint8Array(200_000).fill(0xfb))
})

test('decodeControl() refuses a length that reaches past the frame, without allocating it', (t) => {
  const before = process.memoryUsage().arrayBuffers
  survives(t, decodeControl, Uint8Array.of(0x22, 0xff, 0xff, 0xff, 0xff, 0x07, 0x0a, 0xff, 0xff, 0xff, 0x7f))
  t.true(process.memoryUsage().arrayBuffers - before < 2 ** 20)
})

test('decodeControl() bounds what a frame full of empty fields becomes', (t) => {
  const hellos = Buffer.alloc(200_000, Buffer.from([0x0a, 0x04, 0x22, 0x02, 0x0a, 0x00]))
  survives(t, decodeControl, hellos)
})
