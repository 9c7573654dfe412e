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

export function bodyBytes({ body }: SignedBody): Uint8Array {
  return Buffer.from(body, 'base64')
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
