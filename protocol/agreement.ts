/** The body of an agreement: what both identities sign before anything moves. Spec: viaduct.md, Agreement. */
import type { Agreement } from './control-message.ts'
import { MAX_TIME_MS, decodeMessage, fixedBytes, integer, list, text, token, violation } from './field.ts'
import {
  JOB_ID_BYTES,
  MAX_DESTINATION_BYTES,
  MAX_LANES,
  MAX_LISTED,
  MAX_PEER_ID_BYTES,
  MAX_TEXT_BYTES,
  MAX_VOLUME_BYTES,
} from './limits.ts'
import { fluidcloud } from './pb/viaduct.js'

const Wire = fluidcloud.viaduct.v1.Agreement

const SIGNED_AS = new TextEncoder().encode('fluidcloud agreement v1\n')

/** The body as it travels and is signed; throws PROTOCOL_VIOLATION for what the other side would refuse. */
export function encodeAgreement(agreement: Agreement): Uint8Array {
  const body = Wire.encode({ ...agreement, codecs: [...agreement.codecs] }).finish()
  decodeAgreement(body)
  return body
}

/** The agreement in a body; throws PROTOCOL_VIOLATION. Its signatures are the caller's to check. */
export function decodeAgreement(body: Uint8Array): Agreement {
  const wire = decodeMessage('Agreement', (reader) => Wire.decode(reader), body)
  const codecs = list('Codecs', wire.codecs ?? [], MAX_LISTED, token)
  if (codecs.length === 0) throw violation('Agreement names no codec')
  return {
    job: fixedBytes('Job id', wire.job, JOB_ID_BYTES),
    sender: text('Sender', wire.sender, MAX_PEER_ID_BYTES, 1),
    receiver: text('Receiver', wire.receiver, MAX_PEER_ID_BYTES, 1),
    destination: text('Destination', wire.destination, MAX_DESTINATION_BYTES, 1),
    sizeBytes: integer('Volume size', wire.sizeBytes, 0, MAX_VOLUME_BYTES),
    allocatedBytes: integer('Allocated size', wire.allocatedBytes, 0, MAX_VOLUME_BYTES),
    snapshot: text('Snapshot', wire.snapshot, MAX_TEXT_BYTES),
    targetFormat: token('Target format', wire.targetFormat),
    replace: wire.replace,
    verifyDeep: wire.verifyDeep,
    chunking: token('Chunking', wire.chunking),
    codecs,
    lanes: integer('Lanes', wire.lanes, 1, MAX_LANES),
    minor: integer('Protocol minor', wire.minor, 0, 2 ** 32 - 1),
    agreedAtMs: integer('Agreement time', wire.agreedAtMs, 0, MAX_TIME_MS),
    replacesExisting: wire.replacesExisting,
    freeBytes: integer('Free bytes', wire.freeBytes, 0, Number.MAX_SAFE_INTEGER),
    resumes: wire.resumes,
    ...(wire.mostLanes > 0 && { mostLanes: integer('Most lanes', wire.mostLanes, 1, MAX_LANES) }),
    ...(wire.inPlace && { inPlace: true }),
  }
}

/** What an Ed25519 signature of an agreement covers. */
export function agreementSigningBytes(body: Uint8Array): Uint8Array {
  return Buffer.concat([SIGNED_AS, body])
}
