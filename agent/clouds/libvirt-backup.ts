/**
 * Backup jobs of libvirt in pull mode: QEMU serves all disks of one instant over NBD until the job is aborted. A domain has
 * one job at a time. https://libvirt.org/formatbackup.html
 */
import { setTimeout as delay } from 'node:timers/promises'
import { FluidError } from '../../protocol/errors.ts'
import { saidBy, type Virsh } from './libvirt-virsh.ts'
import { attr, first, parseXml, xml } from './libvirt-xml.ts'

const ABORT_TIMEOUT_MS = 30_000
const ABORT_POLL_MS = 20

export interface BackupPlan {
  /** Where QEMU will listen. */
  readonly socket: string
  readonly disks: readonly {
    /** Name of the target, and of the export. */
    readonly target: string
    /** Made by libvirt; keeps what is overwritten while the job lasts. */
    readonly scratch: string
    /** The checkpoint since which what was written is told. */
    readonly since?: string
  }[]
  /** Targets that are left out. */
  readonly others: readonly string[]
}

/** For `virsh backup-begin`. */
export function formatBackup({ socket, disks, others }: BackupPlan): string {
  return xml(
    'domainbackup',
    { mode: 'pull' },
    xml('server', { transport: 'unix', socket }),
    xml(
      'disks',
      {},
      ...disks.map(({ target, scratch, since }) =>
        xml(
          'disk',
          {
            name: target,
            backup: 'yes',
            type: 'file',
            backupmode: since === undefined ? 'full' : 'incremental',
            incremental: since,
          },
          xml('scratch', { file: scratch }),
        ),
      ),
      ...others.map((name) => xml('disk', { name, backup: 'no' })),
    ),
  )
}

/** The name under which the export of a target shows its dirty bitmap; libvirt's own choice. */
export function exportedBitmap(target: string): string {
  return `backup-${target}`
}

/** The socket of the job that runs, '' for one without; undefined when there is none. */
export async function runningBackup(virsh: Virsh, uuid: string): Promise<string | undefined> {
  try {
    const job = parseXml(await virsh(['backup-dumpxml', uuid]), 'domainbackup')
    return attr(first(job, 'server'), 'socket') ?? ''
  } catch (error) {
    if (/no domain backup job|not running/.test(saidBy(error))) return undefined
    throw error
  }
}

/** Ends the job that runs, and waits until it is gone. */
export async function abortBackup(virsh: Virsh, uuid: string): Promise<void> {
  const deadline = performance.now() + ABORT_TIMEOUT_MS
  await virsh(['domjobabort', uuid]).catch((error: unknown) => {
    if (!/no job is active|not running/.test(saidBy(error))) throw error
  })
  while ((await runningBackup(virsh, uuid)) !== undefined) {
    if (performance.now() > deadline)
      throw new FluidError('CLOUD_FAILED', `The backup job did not end within ${ABORT_TIMEOUT_MS} ms`)
    await delay(ABORT_POLL_MS)
  }
}
