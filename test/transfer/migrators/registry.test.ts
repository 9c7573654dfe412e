import test from 'ava'
import { resolveChain } from '../../../broker/chain.ts'
import type { Offer } from '../../../protocol/catalog-message.ts'
import { hostedMigrators, knownMigrators, resolveMigrator } from '../../../transfer/migrators/registry.ts'

const ALL = { clouds: ['qemu', 'libvirt', 'local'], formats: ['raw', 'qcow2'] }

/** An agent's offer of all that it does, as far as chains look at it. */
const offer = {
  peer: 'peer',
  id: 'offer',
  withdrawn: false,
  migrators: hostedMigrators(ALL),
} as unknown as Offer

for (const [from, to, names] of [
  ['disk/vmdk', 'disk/raw', ['convert']],
  ['machine/qemu', 'machine/libvirt', ['snapshot', 'register']],
  ['machine/qemu', 'service/healthy', ['health']],
] as const) {
  test(`hostedMigrators() lead from ${from} to ${to}`, (t) => {
    const { steps } = resolveChain([from], [to], [offer])
    t.deepEqual(
      steps?.map(({ migrator }) => migrator),
      [...names],
    )
  })
}

test('hostedMigrators() have names of their own, and known ones resolve', async (t) => {
  const names = hostedMigrators(ALL).map(({ name }) => name)
  t.is(new Set(names).size, names.length)
  for (const facts of knownMigrators()) t.like(await resolveMigrator(facts.name, facts.version), facts)
})

test('hostedMigrators() name no more than the host has', (t) => {
  const bare = hostedMigrators({ clouds: [], formats: ['raw'] })
  t.deepEqual(
    bare.map(({ name, accepts, produces }) => `${name} ${accepts.join()} ${produces.join()}`),
    ['convert', 'move', 'verify'].map((name) => `${name} disk/raw disk/raw`),
  )
  const qemu = hostedMigrators({ clouds: ['qemu'], formats: ['raw', 'qcow2'] })
  t.deepEqual(qemu.find(({ name }) => name === 'register')?.produces, ['machine/qemu'])
  t.true(qemu.find(({ name }) => name === 'convert')!.accepts.includes('disk/vmdk'))
})
