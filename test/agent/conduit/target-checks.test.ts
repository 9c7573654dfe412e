import test from 'ava'
import { checkRequest, type CheckingTarget } from '../../../agent/conduit/target-checks.ts'
import type { RelocationRequest } from '../../../agent/conduit/target.ts'
import { FluidError } from '../../../protocol/errors.ts'
import type { Machine } from '../../../protocol/machine.ts'
import type { MigratorStep } from '../../../protocol/relocation-message.ts'
import { RELOCATE_DEFAULTS } from '../../../protocol/relocate-grant.ts'
import { resolveMigrator } from '../../../transfer/migrators/registry.ts'
import { tempDir, type Owner } from '../../helpers/temp-dir.ts'

const PEER = 'peer'
const MISSING = 'Files in raw disks cannot be edited here: debugfs is missing'

/** A target that lets everything in, and cannot edit the disks of guests. */
async function unableToEdit(t: Owner): Promise<CheckingTarget> {
  const cloud = { kind: 'local', supports: { pause: true, formats: ['raw'], firmware: ['bios'] } }
  return {
    cloud: { ...cloud, machines: async () => [] } as unknown as CheckingTarget['cloud'],
    grant: {
      id: 'ab',
      folder: await tempDir(t),
      maxBytes: 0,
      approve: 'auto',
      targets: {},
      relocate: { cloud: 'local', ...RELOCATE_DEFAULTS },
    },
    writableFormats: ['raw'],
    others: [],
    leaving: new Set(),
    migrator: ({ migrator, version }) => resolveMigrator(migrator, version),
    cannotWriteGuests: async () =>
      new FluidError('GUEST_UNSUPPORTED', MISSING, { hint: 'Install e2fsprogs' }),
  }
}

function requestWith(steps: readonly MigratorStep[]): RelocationRequest {
  const disk = {
    id: 'vda',
    path: '',
    format: 'raw',
    sizeBytes: 4096,
    boot: true,
    bus: 'virtio',
    readOnly: false,
  }
  const machine = {
    name: 'web',
    architecture: 'x86_64',
    vcpus: 1,
    memoryBytes: 2 ** 20,
    firmware: 'bios',
    chipset: 'q35',
    disks: [disk],
    nics: [],
  } as unknown as Machine
  const disks = [{ id: 'vda', sizeBytes: 4096, allocatedBytes: 4096 }]
  return {
    relocation: 'ab'.repeat(16),
    service: 'web',
    live: false,
    machines: [{ machine, disks, steps }],
    health: [],
    gateMs: 1000,
  }
}

test('checkRequest() refuses steps that edit guests where the programs for it are missing', async (t) => {
  const step = { migrator: 'adapt-guest', version: '1.0.0', input: { hostname: 'web-2' } }
  const { objections } = await checkRequest(PEER, requestWith([step]), await unableToEdit(t))
  t.deepEqual(objections, [
    { code: 'GUEST_UNSUPPORTED', message: `web: ${MISSING}`, hint: 'Install e2fsprogs' },
  ])
})

test('checkRequest() needs no such program for machines that stay as they are', async (t) => {
  const { objections, places } = await checkRequest(PEER, requestWith([]), await unableToEdit(t))
  t.deepEqual(objections, [])
  t.is(places.length, 1)
})
