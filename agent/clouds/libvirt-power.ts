/** States of a domain, and what changes them. */
import { setTimeout as delay } from 'node:timers/promises'
import type { MachineState } from './cloud.ts'
import { giveAutostart, takeAutostart } from './libvirt-autostart.ts'
import { saidBy, type Virsh } from './libvirt-virsh.ts'

/** QEMU gets 15 s to flush after SIGTERM, then libvirt says that it is busy. */
const DESTROY_TIMEOUT_MS = 60_000
const START_TIMEOUT_MS = 120_000
const SHUTDOWN_POLL_MS = 250

/** As `virsh domstate` says it. Whatever has a QEMU is not stopped. */
const STATES: Readonly<Record<string, MachineState>> = {
  'shut off': 'stopped',
  paused: 'paused',
  crashed: 'paused',
  pmsuspended: 'paused',
}

export async function domainState(virsh: Virsh, uuid: string, signal?: AbortSignal): Promise<MachineState> {
  return STATES[await wordFor(virsh, uuid, signal)] ?? 'running'
}

/** Stops the processors; QEMU flushes its disks. Throws CLOUD_FAILED for a domain that does not run. */
export async function holdDomain(virsh: Virsh, uuid: string, signal?: AbortSignal): Promise<void> {
  // Of one that is paused already libvirt says nothing.
  await Promise.all([virsh(['suspend', uuid], { signal }), takeAutostart(virsh, uuid)])
}

/** Lets the processors go on. Throws CLOUD_FAILED for a domain that does not run. */
export async function resumeDomain(virsh: Virsh, uuid: string, signal?: AbortSignal): Promise<void> {
  await virsh(['resume', uuid], { signal }).catch(async (error: unknown) => {
    if (/already running/.test(saidBy(error))) return
    if (!/pmsuspended/i.test(saidBy(error))) throw error
    await virsh(['dompmwakeup', uuid], { signal })
  })
  await giveAutostart(virsh, uuid)
}

/** Starts a domain that is shut off. */
export async function startDomain(virsh: Virsh, uuid: string, signal?: AbortSignal): Promise<void> {
  const state = await domainState(virsh, uuid, signal)
  if (state === 'paused') return
  if (state === 'stopped') await virsh(['start', uuid], { signal, timeoutMs: START_TIMEOUT_MS })
  await giveAutostart(virsh, uuid)
}

/** Asks a running domain to end, and ends it after `graceMs`; one that is paused cannot be asked. */
export async function stopDomain(
  virsh: Virsh,
  uuid: string,
  graceMs: number,
  signal?: AbortSignal,
): Promise<void> {
  await takeAutostart(virsh, uuid)
  const state = await domainState(virsh, uuid, signal)
  if (state === 'stopped') return
  if (state === 'running' && graceMs > 0 && (await askedToEnd(virsh, uuid, graceMs, signal))) return
  await destroy(virsh, uuid, signal)
}

/** True when it was asked and has ended in time. */
async function askedToEnd(
  virsh: Virsh,
  uuid: string,
  graceMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const end = performance.now() + graceMs
  try {
    await virsh(['shutdown', uuid], { signal, timeoutMs: Math.max(1000, graceMs) })
  } catch {
    signal?.throwIfAborted()
    return false
  }
  while (performance.now() < end) {
    if ((await domainState(virsh, uuid, signal)) === 'stopped') return true
    await delay(Math.max(0, Math.min(SHUTDOWN_POLL_MS, end - performance.now())), undefined, { signal })
  }
  return false
}

/** First so that QEMU flushes and keeps its bitmaps, then by force. */
async function destroy(virsh: Virsh, uuid: string, signal?: AbortSignal): Promise<void> {
  for (const how of [['--graceful'], []]) {
    try {
      return void (await virsh(['destroy', uuid, ...how], { signal, timeoutMs: DESTROY_TIMEOUT_MS }))
    } catch (error) {
      signal?.throwIfAborted()
      if (/not running/.test(saidBy(error))) return
      if (how.length === 0) throw error
    }
  }
}

async function wordFor(virsh: Virsh, uuid: string, signal?: AbortSignal): Promise<string> {
  return (await virsh(['domstate', uuid], { signal })).trim()
}
