/** The body of a receipt: what moved, signed by both identities and kept on both sides. Spec: viaduct.md, Receipt. */
import type { Receipt } from './control-message.ts'
import { MAX_TIME_MS, decodeMessage, fixedBytes, integer, text, token } from './field.ts'
import {
  DIGEST_BYTES,
  JOB_ID_BYTES,
  MAX_DESTINATION_BYTES,
  MAX_NAME_BYTES,
  MAX_PEER_ID_BYTES,
  MAX_TEXT_BYTES,
  MAX_VOLUME_BYTES,
} from './limits.ts'
import { fluidcloud } from './pb/viaduct.js'

const Wire = fluidcloud.viaduct.v1.Receipt

const SIGNED_AS = new TextEncoder().encode('fluidcloud receipt v1\n')

/** The body as it travels and is signed; throws PROTOCOL_VIOLATION for what the other side would refuse. */
export function encodeReceipt(receipt: Receipt): Uint8Array {
  const body = Wire.encode(receipt).finish()
  decodeReceipt(body)
  return body
}

/** The receipt in a body; throws PROTOCOL_VIOLATION. Its signatures are the caller's to check. */
export function decodeReceipt(body: Uint8Array): Receipt {
  const wire = decodeMessage('Receipt', (reader) => Wire.decode(reader), body)
  const volume = (name: string, value: number) => integer(name, value, 0, MAX_VOLUME_BYTES)
  const total = (name: string, value: number) => integer(name, value, 0, Number.MAX_SAFE_INTEGER)
  return {
    job: fixedBytes('Job id', wire.job, JOB_ID_BYTES),
    sender: text('Sender', wire.sender, MAX_PEER_ID_BYTES, 1),
    receiver: text('Receiver', wire.receiver, MAX_PEER_ID_BYTES, 1),
    destination: text('Destination', wire.destination, MAX_DESTINATION_BYTES, 1),
    snapshot: text('Snapshot', wire.snapshot, MAX_TEXT_BYTES),
    sizeBytes: volume('Volume size', wire.sizeBytes),
    root: fixedBytes('Root', wire.root, DIGEST_BYTES),
    chunking: token('Chunking', wire.chunking),
    chunks: total('Chunks', wire.chunks),
    dataBytes: volume('Data bytes', wire.dataBytes),
    zeroBytes: volume('Zero bytes', wire.zeroBytes),
    sentBytes: total('Sent bytes', wire.sentBytes),
    dedupedBytes: total('Deduplicated bytes', wire.dedupedBytes),
    resumedBytes: volume('Resumed bytes', wire.resumedBytes),
    wireBytes: total('Wire bytes', wire.wireBytes),
    path: text('Path', wire.path, MAX_NAME_BYTES),
    verifiedDeep: wire.verifiedDeep,
    startedAtMs: integer('Start time', wire.startedAtMs, 0, MAX_TIME_MS),
    finishedAtMs: integer('End time', wire.finishedAtMs, 0, MAX_TIME_MS),
    agreementDigest: fixedBytes('Agreement digest', wire.agreementDigest, DIGEST_BYTES),
  }
}

/** What an Ed25519 signature of a receipt covers. */
export function receiptSigningBytes(body: Uint8Array): Uint8Array {
  return Buffer.concat([SIGNED_AS, body])
}
