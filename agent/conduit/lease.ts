/**
 * The arithmetic of leases, pure: when a lease is over for the side that holds it, and when for the side that granted it.
 * Durations and monotonic clocks only; spec relocation.md, Leases, has the picture.
 *
 *     source ──────────────── grants ▪─────────── leaseMs + drift + margin ───────────▪ may run again
 *                            ↗        ↘
 *     target ── asks ▪──────────── leaseMs ─────────▪ end; paused, off, killed before it
 *
 * The holder counts from before its question left, the grantor from after its answer left. Whatever the line does in
 * between, the holder's lease ends first.
 */
import {
  LEASE_DRIFT_PERMILLE,
  LEASE_KILL_BEFORE_MS,
  LEASE_MARGIN_MS,
  LEASE_PAUSE_BEFORE_MS,
  LEASE_POWER_OFF_BEFORE_MS,
} from '../../protocol/limits.ts'

/** When the holder's lease ends, on its clock; `askedAt` is from before the question was sent. */
export function heldUntil(askedAt: number, leaseMs: number): number {
  return askedAt + leaseMs
}

/** When the last of a lease has surely ended, on the grantor's clock; `sentAt` is from after the answer was sent. */
export function grantedUntil(sentAt: number, leaseMs: number): number {
  return sentAt + Math.ceil(leaseMs * (1 + LEASE_DRIFT_PERMILLE / 1000)) + LEASE_MARGIN_MS
}

/** When the holder asks again: at a third, so that two questions may be lost. */
export function renewAt(askedAt: number, leaseMs: number): number {
  return askedAt + leaseMs / 3
}

/** What a guard does to a machine whose lease ends at `end`, when it is `now`: each step leaves time for the next. */
export function dueOf(end: number, now: number): 'nothing' | 'pause' | 'power-off' | 'kill' {
  if (now >= end - LEASE_KILL_BEFORE_MS) return 'kill'
  if (now >= end - LEASE_POWER_OFF_BEFORE_MS) return 'power-off'
  if (now >= end - LEASE_PAUSE_BEFORE_MS) return 'pause'
  return 'nothing'
}

/** True while a lease that ends at `end` lets a machine run, or be started. */
export function letsRun(end: number, now: number): boolean {
  return dueOf(end, now) === 'nothing'
}
