/**
 * Writes data frames to the lane, a few at once, and feeds the compression control: the last stage of send().
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import type { Range } from '../protocol/extent.ts'
import type { CompressionControl } from './compression-control.ts'
import type { Lane } from './lane.ts'
import type { PackedWindow } from './pack.ts'
import { createMachineIdle } from './machine-idle.ts'
import { addStage } from './stage-clock.ts'
import type { Exchange } from './want.ts'

/** Frames handed to the lane and not yet taken by it: enough to keep a socket busy. One more is being made. */
const FRAMES_IN_FLIGHT = 3

/** A window whose wanted chunks are all handed to the line. */
export interface SentWindow extends Range {
  /** Its manifest entries. */
  readonly entries: Uint8Array
  readonly sentBytes: number
  readonly dataBytes: number
}

/** Of all lanes of the thread. */
const machineIdle = createMachineIdle()

/** The stage. The window's memory is released once the lane has taken its last frame. */
export function writeFrames(
  lane: Lane,
  exchange: Pick<Exchange, 'receiverIdle' | 'roundTripMs'>,
  compression: CompressionControl,
  pace: (bytes: number) => number,
  signal: AbortSignal,
) {
  return async function* (windows: AsyncIterable<PackedWindow>): AsyncGenerator<SentWindow> {
    const inFlight: Promise<void>[] = []
    let seenAt = performance.now()
    let line = { askedAt: seenAt, busyMs: lane.busyMs?.() }
    let blockedMs = 0
    let utilization = performance.eventLoopUtilization()
    const blocked = async (waiting: Promise<unknown>) => {
      const from = performance.now()
      await waiting
      blockedMs += performance.now() - from
    }
    // A thread that is busy waits for nothing, however long a write of one of its lanes takes.
    const idleMs = () => {
      const now = performance.eventLoopUtilization()
      const { idle } = performance.eventLoopUtilization(now, utilization)
      utilization = now
      return idle
    }
    const lineBusyMs = () => {
      const before = line
      line = { askedAt: performance.now(), busyMs: lane.busyMs?.() }
      return line.busyMs === undefined || before.busyMs === undefined
        ? line.askedAt - before.askedAt
        : line.busyMs - before.busyMs
    }
    for await (const { wanted, sentBytes, frames } of windows) {
      const { window } = wanted
      try {
        for (const { message, payload, compressMs, release } of frames()) {
          const waitMs = pace(payload.length)
          if (waitMs > 0) await blocked(delay(waitMs, undefined, { signal }))
          if (inFlight.length >= FRAMES_IN_FLIGHT) await blocked(inFlight.shift()!)
          // What a write that failed leaves behind may still be read by the socket.
          const writing = lane.write(message, payload).then(release)
          writing.catch(() => {})
          inFlight.push(writing)
          addStage('compress', compressMs)
          const now = performance.now()
          compression.observe({
            compressMs,
            rawBytes: message.rawBytes,
            encodedBytes: payload.length,
            waitedForLineMs: blockedMs,
            lineBusyMs,
            idleMs: idleMs(),
            elapsedMs: now - seenAt,
            receiverIdle: exchange.receiverIdle,
            machineIdle: machineIdle(),
            roundTripMs: exchange.roundTripMs,
          })
          seenAt = now
          blockedMs = 0
        }
        await blocked(Promise.all(inFlight.splice(0)))
      } finally {
        window.release()
      }
      const { start, end, entries, dataBytes } = window
      yield { start, end, entries, sentBytes, dataBytes }
    }
  }
}
