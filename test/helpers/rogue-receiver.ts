/** The receiving side of a job as far as a test wants it sound: it agrees, says what it holds, dials lanes, signs a receipt. */
import { agreementSigningBytes, encodeAgreement } from '../../protocol/agreement.ts'
import type { Agreement, ControlMessageOf, Offer, Receipt } from '../../protocol/control-message.ts'
import type { Range } from '../../protocol/extent.ts'
import { VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import { createRoot, entryCount } from '../../protocol/manifest.ts'
import { encodeReceipt, receiptSigningBytes } from '../../protocol/receipt.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { dataBytesOf } from '../../transfer/chunk-index.ts'
import { digestOf } from '../../transfer/hasher.ts'
import { openRogueLane, type RogueLane } from './rogue-lane.ts'
import { talkOver, type RoguePeer, type Talk } from './rogue-peer.ts'
import { HELLO } from './rogue-sender.ts'

/** One attempt of an agent to send to the rogue. */
export interface Attempt {
  readonly rogue: RoguePeer
  readonly talk: Talk
  readonly offer: Offer
  /** Peer ID of the sender. */
  readonly sender: string
  /** Agrees to what is offered, but for `changes`; signed by `by`. Resolves when the sender accepts. */
  agree(
    changes?: Partial<Agreement>,
    by?: Pick<RoguePeer, 'sign'>,
    addresses?: readonly string[],
  ): Promise<void>
  /** Agrees and says that nothing is held. */
  begin(): Promise<void>
  lane(number?: number): Promise<RogueLane>
  /** Takes every window there is over one lane, wanting nothing; `taken` hears of each. Gives all entries. */
  take(taken?: (window: Range) => void): Promise<Uint8Array>
  /** The same, and says of each that it is durable. */
  pretend(): Promise<Uint8Array>
  /** A receipt that is right for `entries`, but for `changes`; signed by `by`. */
  receipt(entries: Uint8Array, changes?: Partial<Receipt>, by?: Pick<RoguePeer, 'sign'>): Promise<void>
}

/** Has the rogue answer every viaduct by `act`, until disposed. */
export async function answerAttempts(
  rogue: RoguePeer,
  act: (attempt: Attempt) => Promise<void>,
): Promise<AsyncDisposable> {
  await rogue.node.handle(VIADUCT_PROTOCOL, async (stream, connection) => {
    const talk = talkOver(stream)
    await talk.hear('hello')
    talk.send({ kind: 'hello', ...HELLO })
    const { kind: _, ...offer } = await talk.hear('offer')
    // What a way leaves unfinished ends with the viaduct.
    await act(attemptOf(rogue, talk, offer, connection.remotePeer.toString())).catch(() => {})
  })
  return { [Symbol.asyncDispose]: () => rogue.node.unhandle(VIADUCT_PROTOCOL) }
}

function attemptOf(rogue: RoguePeer, talk: Talk, offer: Offer, sender: string): Attempt {
  let agreed: Uint8Array | undefined
  const port = Number(/:(\d+)$/.exec(offer.endpoint?.addresses[0] ?? '')?.[1])
  const chunking = offer.chunkings[0]
  const attempt: Attempt = {
    rogue,
    talk,
    offer,
    sender,
    async agree(changes = {}, by = rogue, addresses = []) {
      const { job, destination, sizeBytes, allocatedBytes, snapshot, targetFormat, replace, verifyDeep } =
        offer
      const agreement: Agreement = {
        job,
        destination,
        sizeBytes,
        allocatedBytes,
        snapshot,
        targetFormat,
        replace,
        verifyDeep,
        sender,
        receiver: rogue.peerId,
        chunking,
        codecs: offer.codecs,
        lanes: offer.lanes,
        minor: 0,
        agreedAtMs: Date.now(),
        replacesExisting: false,
        freeBytes: 2 ** 40,
        resumes: false,
        ...changes,
      }
      const body = encodeAgreement(agreement)
      agreed = body
      const endpoint = {
        addresses,
        token: new Uint8Array(16).fill(7),
        certificate: rogue.laneIdentity.certificateDer,
      }
      talk.send({ kind: 'agreement', body, signature: await by.sign(agreementSigningBytes(body)), endpoint })
      await talk.hear('accept')
    },
    async begin() {
      await attempt.agree()
      talk.send({ kind: 'committed', ranges: [], more: false })
    },
    lane: (number = 0) =>
      openRogueLane({
        port,
        serverName: serverName(offer.endpoint!.token, number),
        identity: rogue.laneIdentity,
      }),
    async take(taken) {
      const lane = await attempt.lane()
      const all: Uint8Array[] = []
      for (let at = 0; at < offer.sizeBytes;) {
        const { message, payload } = await lane.hear('have')
        all.push(payload)
        at = message.end
        lane.write({ want: { window: message.window } }, new Uint8Array(Math.ceil(entryCount(payload) / 8)))
        taken?.({ start: message.start, end: message.end })
      }
      lane.sendBytes(new Uint8Array(8))
      return Buffer.concat(all)
    },
    pretend: () => attempt.take((window) => talk.send({ kind: 'checkpoint', ranges: [window] })),
    async receipt(entries, changes = {}, by = rogue) {
      const { job, destination, snapshot, sizeBytes } = offer
      const root = createRoot(sizeBytes, chunking)
      root.update(entries)
      const dataBytes = dataBytesOf(entries)
      const body = encodeReceipt({
        job,
        destination,
        snapshot,
        sizeBytes,
        chunking,
        sender,
        dataBytes,
        receiver: rogue.peerId,
        root: root.digest(),
        chunks: entryCount(entries),
        zeroBytes: sizeBytes - dataBytes,
        sentBytes: dataBytes,
        dedupedBytes: 0,
        resumedBytes: 0,
        wireBytes: dataBytes,
        path: 'tls',
        verifiedDeep: false,
        startedAtMs: Date.now(),
        finishedAtMs: Date.now(),
        agreementDigest: digestOf(agreed ?? new Uint8Array()),
        ...changes,
      })
      const said: ControlMessageOf<'receipt'> = {
        kind: 'receipt',
        body,
        receiverSignature: await by.sign(receiptSigningBytes(body)),
      }
      talk.send(said)
    },
  }
  return attempt
}
