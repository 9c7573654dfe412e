/** The Migrators that this agent hosts, as its offers name them: its own on this host, and those its operator allowed. */
import type { Logger } from 'pino'
import type { MigratorSpec } from '../../protocol/catalog-message.ts'
import { asFluidError } from '../../protocol/errors.ts'
import { MAX_LISTED, MAX_MIGRATORS } from '../../protocol/limits.ts'
import { hostedMigrators, resolveMigrator } from '../../transfer/migrators/registry.ts'
import { CLOUD_KINDS } from '../clouds/cloud-config.ts'
import type { Config } from '../config.ts'

export interface HostedParts {
  readonly config: Pick<Config, 'clouds' | 'migrators'>
  readonly writableFormats: readonly string[]
  readonly log: Logger
}

/** One that is allowed and cannot be loaded is left out, and the log says why. Never rejects. */
export async function migratorsHere({ config, writableFormats, log }: HostedParts): Promise<MigratorSpec[]> {
  const clouds = CLOUD_KINDS.filter((kind) => config.clouds[kind] !== undefined)
  const own = hostedMigrators({ clouds, formats: writableFormats })
  const others: MigratorSpec[] = []
  for (const allowed of config.migrators.allow) {
    if (own.length + others.length >= MAX_MIGRATORS) break
    const [name, major] = allowed.split('@')
    if (own.some((each) => each.name === name)) continue
    try {
      const { version, accepts, produces } = await resolveMigrator(name, major, config.migrators)
      others.push({
        name,
        version,
        accepts: accepts.slice(0, MAX_LISTED),
        produces: produces.slice(0, MAX_LISTED),
      })
    } catch (error) {
      log.warn(
        { migrator: allowed, error: asFluidError(error).message },
        'A Migrator is allowed, and not offered',
      )
    }
  }
  return [...own, ...others]
}
