/**
 * The clock of leases at the target: monotonic, the same for the agent and its guards, and counting while the host is
 * suspended, as CLOCK_BOOTTIME does. Where /proc is missing suspension does not count.
 */
import { readFileSync } from 'node:fs'

/** Milliseconds since this host started, in steps of 10; never ahead of the time. */
export function bootNow(): number {
  try {
    const [seconds] = readFileSync('/proc/uptime', 'latin1').split(' ', 1)
    return Math.round(Number(seconds) * 1000)
  } catch {
    return Number(process.hrtime.bigint() / 1_000_000n)
  }
}

let boot: string | undefined

/** Names this run of the host: times of another one mean nothing. */
export function bootOf(): string {
  try {
    boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    boot = 'unknown'
  }
  return boot
}
