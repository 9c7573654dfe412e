/**
 * [migrators] of config.toml: which Migrators of third parties this agent runs, and where they lie; which object stores of its
 * own host peers may have it ask. None by default.
 */
import { isIP } from 'node:net'
import { isAbsolute, normalize } from 'node:path'
import { hostPort } from '../mesh/addresses.ts'
import { listOf } from '../toml-readers.ts'
import { type Reader, readKey, readSection, Wanted } from '../toml-table.ts'

export interface MigratorsConfig {
  readonly folder: string
  /** name@major */
  readonly allow: readonly string[]
  /** address:port */
  readonly stores: readonly string[]
}

export const DEFAULT_MIGRATORS_FOLDER = '/etc/fluidcloud/migrators'
const MAX_ALLOWED = 64
const MAX_STORES = 64

/** Throws CONFIG_INVALID. */
export function readMigrators(value: unknown): MigratorsConfig {
  const table = readSection(value, 'migrators', ['folder', 'allow', 'stores'])
  return {
    folder: readKey(table.folder, 'migrators.folder', folder, DEFAULT_MIGRATORS_FOLDER),
    allow: readKey(table.allow, 'migrators.allow', allowed, []),
    stores: readKey(table.stores, 'migrators.stores', listOf(store, MAX_STORES), []),
  }
}

const folder: Reader<string> = (value) =>
  typeof value === 'string' && isAbsolute(value) && !value.includes('\0')
    ? normalize(value)
    : new Wanted(`an absolute path such as "${DEFAULT_MIGRATORS_FOLDER}"`)

const allowed: Reader<string[]> = (value) =>
  Array.isArray(value) &&
  value.length <= MAX_ALLOWED &&
  value.every((each) => typeof each === 'string' && /^[a-z0-9-]{1,64}@(?:0|[1-9]\d{0,8})$/.test(each))
    ? (value as string[])
    : new Wanted('a list of names with their major version such as ["proxy@1"]')

/** As addresses are written to which names lead. */
const store: Reader<string> = (value) => {
  const [, host = '', digits] = /^(.+):(\d{1,5})$/.exec(String(value)) ?? []
  const address = URL.parse(`http://${host}`)?.hostname.replace(/^\[|\]$/g, '') ?? ''
  const port = Number(digits)
  return isIP(address) !== 0 && port > 0 && port < 65_536
    ? hostPort(address, port)
    : new Wanted('an address and its port, such as "127.0.0.1:9000"')
}
