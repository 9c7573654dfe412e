import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { RelocationReport } from '../../../agent/reports/relocation-reports.ts'
import type { Cloud } from '../../../agent/clouds/cloud.ts'
import { createMachineCalls } from '../../../agent/clouds/machine-calls.ts'
import { createClouds } from '../../../agent/clouds/open-cloud.ts'
import { refusedWith } from '../../helpers/refused-with.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

/** One service that sleeps. */
async function callsOf(t: ExecutionContext, relocations: Partial<RelocationReport>[] = []) {
  const folder = await tempDir(t)
  const machines = join(folder, 'machines')
  await mkdir(machines)
  await writeFile(join(folder, 'disk.raw'), Buffer.alloc(4096))
  await writeFile(
    join(machines, 'shop.toml'),
    `vcpus = 1\nmemory = "64MiB"\n[[disks]]\nid = "vda"\npath = "${folder}/disk.raw"\nformat = "raw"\n[extra]\nstart = ["/bin/sleep", "1000"]\n`,
  )
  const clouds = createClouds({ local: { machines, programs: ['/bin/sleep'] } })
  const calls = createMachineCalls({ clouds, relocations: () => relocations as RelocationReport[] })
  t.teardown(async () => {
    await calls.machineStop({ name: 'shop', graceMs: 0 })
    await clouds[Symbol.asyncDispose]()
  })
  return calls
}

test('machineStart() and machineStop() change the state that machines() tells', async (t) => {
  const calls = await callsOf(t)
  t.like((await calls.machines())[0], { name: 'shop', cloud: 'local', state: 'stopped' })
  t.is((await calls.machineStart({ name: 'shop' })).state, 'running')
  t.is((await calls.machines())[0].state, 'running')
  t.is((await calls.machineStop({ name: 'shop', graceMs: 0 })).state, 'stopped')
})

for (const state of [
  'cutting-over',
  'adapting',
  'verifying',
  'live',
  'finalizing',
  'rolling-back',
] as const) {
  test(`machineStart() refuses a machine whose relocation is ${state}`, async (t) => {
    const calls = await callsOf(t, [{ job: 'ab', machines: ['shop'], state, peerName: 'beta' }])
    await refusedWith(t, 'JOB_STATE', calls.machineStart({ name: 'shop' }))
    t.is((await calls.machines())[0].state, 'stopped')
  })
}

test('machineStart() starts what runs here again, though the target is still to be told', async (t) => {
  const calls = await callsOf(t, [{ job: 'ab', machines: ['shop'], state: 'rolling-back', sourceRuns: true }])
  t.is((await calls.machineStart({ name: 'shop' })).state, 'running')
})

test('machineStart() does not resume what a cut-over has paused meanwhile', async (t) => {
  const relocations: RelocationReport[] = []
  const cloud = {
    machines: async () => ['shop'],
    state: async () => {
      relocations.push({ machines: ['shop'], state: 'cutting-over' } as unknown as RelocationReport)
      return 'paused'
    },
    resume: async () => t.fail(),
  } as unknown as Cloud
  const clouds = { kinds: ['local' as const], cloud: async () => cloud, async [Symbol.asyncDispose]() {} }
  const calls = createMachineCalls({ clouds, relocations: () => relocations })
  await refusedWith(t, 'JOB_STATE', calls.machineStart({ name: 'shop' }))
})

test('machineStart() knows only machines of the clouds that are configured', async (t) => {
  const calls = await callsOf(t)
  await refusedWith(t, 'MACHINE_UNKNOWN', calls.machineStart({ name: 'other' }))
  await refusedWith(t, 'MACHINE_UNKNOWN', calls.machineStart({ name: 'shop', cloud: 'qemu' }))
  const none = createMachineCalls({ clouds: createClouds({}), relocations: () => [] })
  await refusedWith(t, 'CONFIG_INVALID', none.machines())
})
