/** From the steps an owner wrote to the Migrators that are here: the version is settled and the input checked. */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_STEP_BYTES } from '../../protocol/limits.ts'
import type { EditStep } from '../../transfer/migrators/apply.ts'
import { type AllowedMigrators, knownMigrators, resolveMigrator } from '../../transfer/migrators/registry.ts'
import type { ServiceMachine } from './service-file.ts'
import type { MigratorStep } from '../../protocol/relocation-message.ts'

/** Throws POLICY_DENIED, VERSION_UNSUPPORTED, USAGE with the key of an input that is wrong, TOO_LARGE. */
export async function stepsOf(
  { name, steps }: ServiceMachine,
  allowed?: AllowedMigrators,
): Promise<EditStep[]> {
  const resolved: EditStep[] = []
  for (const { migrator: called, version, input } of steps) {
    const known = version ?? knownMigrators().find((each) => each.name === called)?.version
    const migrator = await resolveMigrator(called, known ?? '1', allowed)
    try {
      migrator.check(input)
    } catch (error) {
      if (!(error instanceof FluidError)) throw error
      throw new FluidError(error.code, `${called} of machine ${name}: ${error.message}`, {
        ...error.details,
        cause: error,
      })
    }
    if (Buffer.byteLength(JSON.stringify(input)) > MAX_STEP_BYTES)
      throw new FluidError(
        'TOO_LARGE',
        `The input of ${called} of machine ${name} is larger than ${MAX_STEP_BYTES} bytes`,
        {
          hint: 'Say less in one step',
        },
      )
    resolved.push({ migrator, input })
  }
  return resolved
}

/** As the target is asked. */
export function plannedSteps(steps: readonly EditStep[]): MigratorStep[] {
  return steps.map(({ migrator: { name, version }, input }) => ({ migrator: name, version, input }))
}
