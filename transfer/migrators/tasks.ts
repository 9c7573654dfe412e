/**
 * The tasks of a relocation that edit no guest: what the engine, the clouds' drivers and the Conduit do themselves. They
 * are Migrators to the Broker, which chains them by what they accept and produce (protocol/catalog.md, Chains).
 */
import type { MigratorFacts } from '../migrator.ts'

const MACHINES = ['machine/libvirt', 'machine/local', 'machine/qemu'] as const
/** What images are read of, and what is written: backends/image-format.ts. */
const READ = ['disk/qcow2', 'disk/raw', 'disk/vdi', 'disk/vhdx', 'disk/vmdk', 'disk/vpc'] as const
const WRITTEN = ['disk/qcow2', 'disk/raw'] as const

const task = (name: string, accepts: readonly string[], produces: readonly string[]): MigratorFacts => ({
  name,
  version: '1.0.0',
  accepts,
  produces,
})

export const TASKS: readonly MigratorFacts[] = [
  task('snapshot', MACHINES, WRITTEN),
  task('convert', READ, WRITTEN),
  task('move', READ, WRITTEN),
  task('verify', WRITTEN, WRITTEN),
  task('register', WRITTEN, MACHINES),
  task('health', MACHINES, ['service/healthy']),
]
