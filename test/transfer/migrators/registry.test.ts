import test from 'ava'
import { resolveChain } from '../../../broker/chain.ts'
import type { Offer } from '../../../protocol/catalog-message.ts'
import { hostedMigrators, knownMigrators, resolveMigrator } from '../../../transfer/migrators/registry.ts'

/** An agent's offer of all that it does, as far as chains look at it. */
const offer = {
  peer: 'peer',
  id: 'offer',
  withdrawn: false,
  migrators: hostedMigrators(),
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
  const names = hostedMigrators().map(({ name }) => name)
  t.is(new Set(names).size, names.length)
  for (const { name, version } of knownMigrators()) t.is((await resolveMigrator(name, version)).name, name)
})
