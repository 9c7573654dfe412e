import test from 'ava'
import { createIdentityKey, parseIdentity } from '../../../agent/identity.ts'
import { Job } from '../../../agent/jobs/job.ts'
import { freshRecord, type SignedBody } from '../../../agent/jobs/job-record.ts'
import { receiptReport } from '../../../agent/jobs/receipt-report.ts'
import { signedBody } from '../../../agent/jobs/signed-body.ts'
import { encodeReceipt, receiptSigningBytes } from '../../../protocol/receipt.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

const [sender, receiver] = [
  parseIdentity(await createIdentityKey()),
  parseIdentity(await createIdentityKey()),
]
const id = Buffer.alloc(16, 7)
const body = encodeReceipt({
  job: id,
  sender: sender.peerId,
  receiver: receiver.peerId,
  destination: 'disk.raw',
  snapshot: 'one',
  sizeBytes: 1000,
  root: new Uint8Array(32).fill(0xab),
  chunking: 'fixed-v1/65536',
  chunks: 2,
  dataBytes: 700,
  zeroBytes: 300,
  sentBytes: 600,
  dedupedBytes: 100,
  resumedBytes: 50,
  wireBytes: 400,
  path: 'tls',
  verifiedDeep: true,
  startedAtMs: 0,
  finishedAtMs: 1000,
  agreementDigest: new Uint8Array(32),
})
const signing = receiptSigningBytes(body)
const [bySender, byReceiver] = [await sender.sign(signing), await receiver.sign(signing)]

function jobWith(receipt: SignedBody | undefined): Job {
  const record = freshRecord({
    job: id.toString('hex'),
    direction: 'out',
    peer: receiver.peerId,
    source: 'disk.raw',
    destination: 'disk.raw',
    options: { verifyDeep: true, replace: false, format: 'raw', compression: 'auto' },
    wireByPath: { tls: 380, mesh: 20 },
    receipt,
  })
  return new Job(record, { put: async () => {} }, () => 'boreal')
}

test('receiptReport() tells what both signed', async (t) => {
  t.deepEqual(await receiptReport(jobWith(signedBody(body, bySender, byReceiver))), {
    job: id.toString('hex'),
    sender: sender.peerId,
    receiver: receiver.peerId,
    destination: 'disk.raw',
    logicalBytes: 1000,
    dataBytes: 700,
    zeroBytes: 300,
    sentBytes: 600,
    dedupedBytes: 100,
    resumedBytes: 50,
    wireBytes: 400,
    bytesByPath: { tls: 380, mesh: 20 },
    chunks: 2,
    chunking: 'fixed-v1/65536',
    root: `b3:${'ab'.repeat(32)}`,
    path: 'tls',
    pathReason: undefined,
    verifiedDeep: true,
    startedAt: '1970-01-01T00:00:00.000Z',
    finishedAt: '1970-01-01T00:00:01.000Z',
    senderSignature: Buffer.from(bySender).toString('base64'),
    receiverSignature: Buffer.from(byReceiver).toString('base64'),
    signaturesValid: true,
  })
})

for (const [what, kept] of [
  ['the sender has not signed yet', signedBody(body, new Uint8Array(), byReceiver)],
  ['the signatures are swapped', signedBody(body, byReceiver, bySender)],
  ['it was signed without the prefix', signedBody(body, await sender.sign(body), byReceiver)],
] as const) {
  test(`receiptReport() says that signatures are not valid when ${what}`, async (t) => {
    t.false((await receiptReport(jobWith(kept))).signaturesValid)
  })
}

test('receiptReport() throws JOB_STATE while there is no receipt', (t) =>
  refusedWith(t, 'JOB_STATE', receiptReport(jobWith(undefined))))
