/** [migrators] of config.toml: which Migrators of third parties this agent runs, and where they lie. None by default. */
import { isAbsolute, normalize } from 'node:path'
import { type Reader, readKey, readSection, Wanted } from '../toml-table.ts'

export interface MigratorsConfig {
  readonly folder: string
  /** name@major */
  readonly allow: readonly string[]
}

export const DEFAULT_MIGRATORS_FOLDER = '/etc/fluidcloud/migrators'
const MAX_ALLOWED = 64

/** Throws CONFIG_INVALID. */
export function readMigrators(value: unknown): MigratorsConfig {
  const table = readSection(value, 'migrators', ['folder', 'allow'])
  return {
    folder: readKey(table.folder, 'migrators.folder', folder, DEFAULT_MIGRATORS_FOLDER),
    allow: readKey(table.allow, 'migrators.allow', allowed, []),
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
