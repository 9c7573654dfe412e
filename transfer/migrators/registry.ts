/**
 * The Migrators this agent knows, by name and version. Those that edit a guest are resolved here, for the source's preview
 * and for the target's plan alike; others are tasks that the Conduit and the engine do themselves, listed so that the
 * Broker can chain them. Third parties' run only if the local operator allowed them: what a peer says is a name.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { EditMigrator, MigratorFacts } from '../migrator.ts'
import { TASKS } from './tasks.ts'

/** What the local operator allowed beside the built-in ones. */
export interface AllowedMigrators {
  /** Where they lie. */
  readonly folder?: string
  /** name@major */
  readonly allow: readonly string[]
  /** Takes what they print on standard error. */
  readonly log?: (name: string, text: string) => void
  /** For one run. Default DEFAULT_DEADLINE_MS. */
  readonly deadlineMs?: number
}

const NO_OTHERS: AllowedMigrators = { allow: [] }

const NEVER = new AbortController().signal

/** Loaded when they are used, with the parsers of all that they edit: every agent names them, few run them. */
const EDITORS: readonly (MigratorFacts & { load(): Promise<EditMigrator> })[] = [
  editor('adapt-guest', async () => (await import('./adapt-guest.ts')).adaptGuest),
  editor('rewrite-config', async () => (await import('./rewrite-config.ts')).rewriteConfig),
  editor('rebind-object-store', async () => (await import('./rebind-object-store.ts')).rebindObjectStore),
]

function editor(name: string, load: () => Promise<EditMigrator>) {
  return { name, version: '1.0.0', accepts: ['guest/linux'], produces: ['guest/linux'], load }
}

/**
 * The Migrator of that name whose version has the same major as `version` (1 or 1.2.3). Throws POLICY_DENIED for one that
 * is unknown or not allowed here, VERSION_UNSUPPORTED for another major, MIGRATOR_FAILED for one that cannot be loaded.
 */
export async function resolveMigrator(
  name: string,
  version: string,
  allowed: AllowedMigrators = NO_OTHERS,
  signal: AbortSignal = NEVER,
): Promise<EditMigrator> {
  const major = majorOf(version)
  const known = EDITORS.find((each) => each.name === name)
  if (known && majorOf(known.version) === major) return await known.load()
  if (known)
    throw new FluidError(
      'VERSION_UNSUPPORTED',
      `Migrator ${name} ${version} is asked for, and ${known.version} is known here`,
    )
  if (allowed.folder !== undefined && allowed.allow.includes(`${name}@${major}`)) {
    const { log, deadlineMs } = allowed
    const { findExternal } = await import('./find-external.ts')
    const { externalMigrator } = await import('./external-migrator.ts')
    const found = await findExternal(allowed.folder, name)
    const external = await externalMigrator(
      { ...found, deadlineMs, ...(log && { log: (text: string) => log(name, text) }) },
      signal,
    )
    if (external.name !== name || majorOf(external.version) !== major)
      throw new FluidError(
        'MIGRATOR_FAILED',
        `Migrator ${name}@${major} says that it is ${external.name}@${external.version}`,
      )
    return external
  }
  throw new FluidError('POLICY_DENIED', `Migrator ${JSON.stringify(name.slice(0, 64))} is not allowed here`, {
    hint: 'The operator of that agent allows it under [migrators] in config.toml',
  })
}

/** Those that can be resolved without an operator's leave. */
export function knownMigrators(): readonly MigratorFacts[] {
  return EDITORS.map(({ name, version, accepts, produces }) => ({ name, version, accepts, produces }))
}

/** What a host has, as far as tasks depend on it. */
export interface HostKinds {
  /** Kinds of clouds that the agent drives. */
  readonly clouds: readonly string[]
  /** Formats of images that can be written; where qcow2 can, all can be read. */
  readonly formats: readonly string[]
}

/** All that an agent does of itself on such a host, as it says in an offer. */
export function hostedMigrators({ clouds, formats }: HostKinds): readonly MigratorFacts[] {
  const isHere = (kind: string, isRead: boolean): boolean => {
    const [what, which] = kind.split('/')
    if (what === 'machine') return clouds.includes(which)
    if (what !== 'disk') return true
    return formats.includes(which) || (isRead && formats.includes('qcow2'))
  }
  const tasks = TASKS.map((task) => ({
    ...task,
    accepts: task.accepts.filter((kind) => isHere(kind, true)),
    produces: task.produces.filter((kind) => isHere(kind, false)),
  }))
  return [
    ...tasks.filter(({ accepts, produces }) => accepts.length > 0 && produces.length > 0),
    ...(clouds.length > 0 ? knownMigrators() : []),
  ]
}

function majorOf(version: string): string {
  const [, major] = /^(0|[1-9]\d{0,8})(?:\.\d{1,9}\.\d{1,9})?$/.exec(version) ?? []
  if (major === undefined)
    throw new FluidError('USAGE', `${JSON.stringify(version.slice(0, 64))} is no version of a Migrator`)
  return major
}
