/**
 * Seals what a lane writes and hands it to the kernel, piece by piece, while it is in the processor's cache.
 *
 * node:tls seals a whole frame first, copies it into memory of its own and lets Node write that: a fifth of what sending
 * costs. Here each piece goes from where OpenSSL sealed it straight into the socket (send(2)). What the kernel has no room
 * for takes Node's way, which waits until there is some; nothing is sent past bytes that still wait there.
 */
import type { Socket } from 'node:net'
import { FluidError } from '../../protocol/errors.ts'
import { descriptorOf, sendNow } from '../linux.ts'
import type { ByteWriter } from './frame-outbox.ts'
import { SEALABLE_BYTES, type TlsSession } from './tls-session.ts'

/** Answers that TLS itself gives to the peer (key updates) and that it does not take: more is no honest need. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024

type Done = (error?: Error | null) => void

/** Owned by the lane whose session and socket it writes to; does nothing once the socket is destroyed. */
export class SealingWriter implements ByteWriter {
  readonly #socket: Socket
  readonly #session: TlsSession
  readonly #failed: (error: unknown) => void
  /** Taken by the kernel without Node. */
  #sentBytes = 0

  /** `failed` hears what goes wrong in a write. */
  constructor(socket: Socket, session: TlsSession, failed: (error: unknown) => void) {
    this.#socket = socket
    this.#session = session
    this.#failed = failed
  }

  /** Sealed bytes that were sent so far. */
  get sentBytes(): number {
    return this.#sentBytes + this.#socket.bytesWritten
  }

  write(bytes: Uint8Array, done?: Done): void {
    try {
      this.#write(bytes, 0, done)
    } catch (error) {
      this.#failed(error)
    }
  }

  end(done?: () => void): void {
    if (this.#socket.destroyed) return
    this.#session.end()
    this.flush()
    this.#socket.end(done)
  }

  /** Sends what TLS has to say by itself. Throws PROTOCOL_VIOLATION when the peer asks for ever more of it. */
  flush(): void {
    const sealed = this.#session.takeSealed()
    if (!sealed) return
    if (this.#socket.writableLength > MAX_UNSENT_BYTES)
      throw new FluidError('PROTOCOL_VIOLATION', 'Lane asks for answers that it does not take')
    this.#socket.write(sealed)
  }

  #write(bytes: Uint8Array, from: number, done: Done | undefined): void {
    for (let at = from; at < bytes.byteLength;) {
      if (this.#socket.destroyed) return
      const end = Math.min(bytes.byteLength, at + SEALABLE_BYTES)
      this.#session.write(bytes.subarray(at, end))
      at = end
      // What follows at once shares its segments: a tail of each piece would wake the receiver for a few bytes.
      const waiting = this.#send({ more: at < bytes.byteLength || !done })
      if (!waiting) continue
      this.#socket.write(waiting, (error) => {
        if (error) return // 'error' or 'close' on the socket tells it.
        try {
          this.#write(bytes, at, done)
        } catch (error) {
          this.#failed(error)
        }
      })
      return
    }
    // Not at once: frames that the kernel always takes would leave no turn to what comes in, or to another lane.
    if (done) setImmediate(done)
  }

  /** Has the kernel take what is sealed; gives what it did not. `more` follows at once. */
  #send(options: { readonly more: boolean }): Uint8Array | undefined {
    const fd = descriptorOf(this.#socket)
    if (fd !== undefined && this.#socket.writableLength === 0)
      this.#sentBytes += this.#session.sendSealed((address, length) => sendNow(fd, address, length, options))
    return this.#session.takeSealed()
  }
}
