import { mkdir, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Home, initHome } from '../../../agent/home.ts'
import { createPolicy, type Policy } from '../../../agent/pairing/policy.ts'
import { createSeedFolders } from '../../../agent/jobs/seed-folders.ts'
import { openStateStore, type StateStore } from '../../../agent/state-store.ts'
import { tempDir } from '../../helpers/temp-dir.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

interface Setup {
  readonly folder: string
  readonly home: Home
  readonly store: StateStore
  readonly policy: Policy
}

async function setup(t: ExecutionContext): Promise<Setup> {
  const folder = await tempDir(t)
  const home = await initHome(join(folder, 'home'), { name: 'a' })
  const store = await openStateStore(home.state)
  t.teardown(() => store[Symbol.asyncDispose]())
  return { folder, home, store, policy: createPolicy({ store, home }) }
}

test('grantFor() denies by default, and again after deny()', async (t) => {
  const { policy, home } = await setup(t)
  t.is(policy.grantFor('p'), undefined)
  t.like(await policy.set('p', {}), { folder: home.imports, maxBytes: 0, approve: 'auto', targets: {} })
  await policy.deny('p')
  t.is(policy.grantFor('p'), undefined)
})

test('set() changes only what is given', async (t) => {
  const { policy, folder } = await setup(t)
  const first = await policy.set('p', {
    folder: join(folder, 'in'),
    maxBytes: 10,
    targets: { disk: '/dev/sdb' },
  })
  const second = await policy.set('p', { approve: 'ask', targets: { export: 'nbd://host/x' } })
  t.deepEqual(second, { ...first, approve: 'ask', targets: { disk: '/dev/sdb', export: 'nbd://host/x' } })
  t.deepEqual((await policy.set('p', { targets: { disk: '' } })).targets, { export: 'nbd://host/x' })
  t.is((await stat(join(folder, 'in'))).mode & 0o777, 0o700)
})

test('set() gives another folder, and a grant after deny(), a new scope', async (t) => {
  const { policy, folder } = await setup(t)
  const { id } = await policy.set('p', { folder: join(folder, 'in') })
  t.is((await policy.set('p', { folder: join(folder, 'in'), maxBytes: 3 })).id, id)
  t.not((await policy.set('p', { folder: join(folder, 'other') })).id, id)
  await policy.deny('p')
  t.not((await policy.set('p', { folder: join(folder, 'in') })).id, id)
  t.not((await policy.set('q', { folder: join(folder, 'in') })).id, policy.grantFor('p')!.id)
})

test('set() refuses folders that are none, links, or hold the agent itself', async (t) => {
  const { policy, folder, home } = await setup(t)
  await mkdir(join(folder, 'real'))
  await symlink(join(folder, 'real'), join(folder, 'link'))
  await symlink(home.path, join(folder, 'detour'))
  await writeFile(join(folder, 'file'), '')
  for (const bad of ['relative', join(folder, 'link'), join(folder, 'file')])
    await refusedWith(t, 'USAGE', policy.set('p', { folder: bad }))
  for (const bad of [
    home.path,
    folder,
    '/',
    home.state,
    join(home.path, 'new'),
    join(folder, 'detour', 'state'),
  ]) {
    await refusedWith(t, 'POLICY_DENIED', policy.set('p', { folder: bad }))
  }
  t.is(policy.grantFor('p'), undefined)
  await policy.set('p', { folder: join(home.imports, 'p') })
  await policy.set('p', { folder: join(folder, 'link', 'inside') })
  t.is(policy.grantFor('p')?.folder, join(folder, 'real', 'inside'))
})

test('set() refuses limits and targets that mean nothing', async (t) => {
  const { policy } = await setup(t)
  for (const maxBytes of [-1, 1.5, 2 ** 53]) await refusedWith(t, 'USAGE', policy.set('p', { maxBytes }))
  for (const targets of [{ '../x': '/dev/sdb' }, { x: 'dev/sdb' }, { x: 'http://host' }] as Record<
    string,
    string
  >[]) {
    await refusedWith(t, 'USAGE', policy.set('p', { targets }))
  }
})

test('seed folders are kept by real path, once', async (t) => {
  const { store, folder } = await setup(t)
  const seeds = createSeedFolders({ store, now: () => 5 })
  await mkdir(join(folder, 'images'))
  await symlink(join(folder, 'images'), join(folder, 'alias'))
  await seeds.add(join(folder, 'images'))
  t.deepEqual(await seeds.add(join(folder, 'alias')), { folder: join(folder, 'images'), addedAt: 5 })
  t.is((await seeds.list()).length, 1)
  await refusedWith(t, 'SOURCE_MISSING', seeds.add(join(folder, 'none')))
  await refusedWith(t, 'USAGE', seeds.add('relative'))
  await seeds.remove(join(folder, 'alias'))
  t.deepEqual(await seeds.list(), [])
  await refusedWith(t, 'USAGE', seeds.remove(join(folder, 'images')))
})

test('set() lets services in only once a cloud is named, with narrow terms, and takes them away', async (t) => {
  const { policy } = await setup(t)
  await refusedWith(t, 'USAGE', policy.set('p', { maxVcpus: 2 }))
  t.is((await policy.set('p', {})).relocate, undefined)
  const narrow = await policy.set('p', { relocate: 'local', maxVcpus: 2 })
  t.like(narrow.relocate, { cloud: 'local', maxVcpus: 2, networks: ['user'], forwards: 'loopback' })
  const named = await policy.set('p', { migrators: ['adapt-guest'], maxMachines: 1 })
  t.like(named.relocate, { cloud: 'local', maxVcpus: 2, maxMachines: 1, migrators: ['adapt-guest'] })
  t.is((await policy.set('p', { migrators: ['all'] })).relocate?.migrators, undefined)
  await refusedWith(t, 'USAGE', policy.set('p', { maxMemoryBytes: -1 }))
  await refusedWith(t, 'USAGE', policy.set('p', { relocate: 'none', maxVcpus: 1 }))
  t.is((await policy.set('p', { relocate: 'none' })).relocate, undefined)
})
