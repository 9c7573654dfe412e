/**
 * Connections to a peer's data port that are made while both sides still sign: a lane that is given one is open a round trip
 * sooner. They go to the first address the peer names, which most often is the one that answers.
 */
import { connect, type Socket } from 'node:net'
import { descriptorOf, duplicateFd } from '../../transfer/linux.ts'
import type { HostPort } from './lane-dialing.ts'

/** A listener that hears nothing on a connection closes it soon (CLIENT_HELLO_TIMEOUT_MS); it is not used when that is near. */
const FRESH_MS = 2_000

/** Dispose them to close what nobody took. */
export class EarlySockets implements Disposable {
  readonly #at: HostPort | undefined
  readonly #sockets: Socket[]
  readonly #madeAt = performance.now()

  /** Begins to connect `count` of them; whether that works shows when they are taken. */
  constructor(at: HostPort | undefined, count: number) {
    this.#at = at
    this.#sockets = Array.from({ length: at ? count : 0 }, () => {
      const socket = connect({ ...at! })
      // The lane dials anew then.
      socket.on('error', () => {})
      return socket
    })
  }

  /** The descriptor of one that is connected to this address, which the caller then owns; undefined when there is none. */
  take(at: HostPort): number | undefined {
    const fits = at.host === this.#at?.host && at.port === this.#at.port
    if (!fits || performance.now() - this.#madeAt > FRESH_MS) return undefined
    const connected = this.#sockets.findIndex(({ readyState }) => readyState === 'open')
    if (connected === -1) return undefined
    const [socket] = this.#sockets.splice(connected, 1)
    try {
      const fd = descriptorOf(socket)
      return fd === undefined ? undefined : duplicateFd(fd)
    } catch {
      // Out of descriptors: the lane says so when it dials.
      return undefined
    } finally {
      // Closes this descriptor only: the connection lives on in its duplicate.
      socket.destroy()
    }
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy()
  }
}
