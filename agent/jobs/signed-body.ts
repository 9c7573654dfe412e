/** Agreements and receipts as both sides keep them: the exact body and both signatures, base64. */
import type { SignedBody } from './job-record.ts'

export function signedBody(
  body: Uint8Array,
  senderSignature: Uint8Array,
  receiverSignature: Uint8Array,
): SignedBody {
  return {
    body: base64(body),
    senderSignature: base64(senderSignature),
    receiverSignature: base64(receiverSignature),
  }
}

/** The exact body and both signatures; a signature that is not there yet is empty. */
export function signedBytes({ body, senderSignature, receiverSignature }: SignedBody) {
  return {
    body: Buffer.from(body, 'base64'),
    senderSignature: Buffer.from(senderSignature, 'base64'),
    receiverSignature: Buffer.from(receiverSignature, 'base64'),
  }
}

export function bodyBytes({ body }: SignedBody): Uint8Array {
  return Buffer.from(body, 'base64')
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
