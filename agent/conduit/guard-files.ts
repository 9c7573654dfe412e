/** The files through which an agent and a guard speak: one folder for each relocation, whole files replaced at once. */
import { randomUUID } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CloudKind } from '../clouds/cloud.ts'
import type { CloudsConfig } from '../clouds/cloud-config.ts'
import type { ProcessIdentity } from '../clouds/processes.ts'
import { bootOf } from './lease-clock.ts'

/** What a guard watches over. */
export interface GuardOrder {
  readonly cloud: CloudKind
  readonly clouds: CloudsConfig
  readonly machines: readonly { readonly name: string; readonly disks: readonly string[] }[]
}

/** What the machines may do: run until then (lease-clock.ts), or for ever, when the guard ends. */
export type GuardWord = { readonly until: number } | { readonly lifted: true }

const ORDER = 'order.json'
const LEASE = 'lease.json'
const WATCHING = 'watching.json'

/** No lease at all. */
export const NEVER: GuardWord = { until: Number.NEGATIVE_INFINITY }

export async function writeOrder(folder: string, order: GuardOrder): Promise<void> {
  await put(folder, ORDER, order)
}

export async function readOrder(folder: string): Promise<GuardOrder | undefined> {
  return (await get(folder, ORDER)) as GuardOrder | undefined
}

/** In force when it resolves: the guard reads it before whatever it does. */
export async function writeWord(folder: string, word: GuardWord): Promise<void> {
  await put(folder, LEASE, { ...word, boot: bootOf() })
}

/** What was written last; nothing that can be believed is no lease. */
export async function readWord(folder: string): Promise<GuardWord> {
  const found = (await get(folder, LEASE)) as
    | { until?: unknown; lifted?: unknown; boot?: unknown }
    | undefined
  if (found?.lifted === true) return { lifted: true }
  return found?.boot === bootOf() && typeof found.until === 'number' ? { until: found.until } : NEVER
}

/** The guard says that it watches, and who it is. */
export async function writeWatching(folder: string, guard: ProcessIdentity): Promise<void> {
  await put(folder, WATCHING, guard)
}

export async function readWatching(folder: string): Promise<ProcessIdentity | undefined> {
  const found = (await get(folder, WATCHING)) as Partial<ProcessIdentity> | undefined
  return typeof found?.pid === 'number' ? (found as ProcessIdentity) : undefined
}

async function put(folder: string, name: string, value: unknown): Promise<void> {
  const staged = join(folder, `.${name}.${randomUUID()}`)
  await writeFile(staged, JSON.stringify(value), { mode: 0o600 })
  await rename(staged, join(folder, name))
}

async function get(folder: string, name: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(folder, name), 'utf8')) as unknown
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}
