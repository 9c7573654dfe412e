import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { hasEnded, processFacts, signalProcess } from '../../../agent/clouds/processes.ts'
import type { Cloud } from '../../../agent/clouds/cloud.ts'
import { createFence } from '../../../agent/conduit/fence.ts'
import { readWatching, type GuardWord } from '../../../agent/conduit/guard-files.ts'
import { killWriters } from '../../../agent/conduit/guard-kill.ts'
import { guardMachine } from '../../../agent/conduit/guard-machine.ts'
import { bootNow } from '../../../agent/conduit/lease-clock.ts'
import { LEASE_PAUSE_BEFORE_MS } from '../../../protocol/limits.ts'
import { eventually } from '../../helpers/eventually.ts'
import { localStage } from '../../helpers/local-machine.ts'
import { override } from '../../../agent/mesh/override.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const onLinux = process.platform === 'linux' ? test : test.skip

/** Has a machine that was held run again: it may be paused, or without power by now. */
async function wake(cloud: Cloud): Promise<void> {
  await cloud.resume('one').catch(() => cloud.start('one'))
}

/** A stage with one machine and a fence around it. */
async function fenced(t: Parameters<typeof localStage>[0], name = 'one') {
  const stage = await localStage(t)
  const machine = await stage.machine(name)
  const fence = createFence(join(stage.folder, 'guard'))
  t.teardown(() => fence.lift())
  const order = {
    cloud: 'local',
    clouds: stage.clouds,
    machines: [{ name, disks: machine.disks.map(({ path }) => path) }],
  } as const
  const isHeld = () => eventually(async () => (await stage.cloud.state(name)) !== 'running' || undefined)
  return { ...stage, fence, order, isHeld, guardFolder: join(stage.folder, 'guard') }
}

onLinux('a guard pauses its machine before the lease ends, whatever the agent does', async (t) => {
  const { cloud, fence, order, isHeld } = await fenced(t)
  await fence.raise(order)
  await fence.extend(bootNow() + LEASE_PAUSE_BEFORE_MS + 1000)
  await cloud.start('one')
  // That it is in time is shown in lease.test.ts, of all clocks; here of a machine that nobody else stops.
  await isHeld()
  t.pass()
})

test('a guard lets a machine run that was let run just after its word was read', async (t) => {
  const ended = new AbortController()
  const did: string[] = []
  let [words, looks] = [0, 0]
  const cloud = {
    supports: { pause: true },
    state: async () => {
      if (++looks === 1) return 'running'
      ended.abort()
      return 'paused'
    },
    pause: async () => void did.push('pause'),
    stop: async () => void did.push('stop'),
  } as unknown as Cloud
  await guardMachine({
    cloud,
    name: 'one',
    // The lease comes between the first word and the look.
    word: async () => ({ until: ++words === 2 ? Infinity : -Infinity }),
    now: bootNow,
    abandoned: async () => false,
    kill: async () => void did.push('kill'),
    log: () => {},
    signal: ended.signal,
  })
  t.deepEqual(did, [])
})

onLinux('one guard watches, however many are started at a time', async (t) => {
  const { fence, order, guardFolder } = await fenced(t)
  const guards = async () => {
    const lines = (await readdir('/proc'))
      .filter((entry) => /^\d+$/.test(entry))
      .map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => ''))
    return (await Promise.all(lines)).filter((line) => line.split('\0').includes(guardFolder)).length
  }
  await Promise.all([fence.raise(order), fence.raise(order)])
  t.is(await guards(), 1)
  await fence.lift()
  // Of an agent that was killed meanwhile, and of the one that came back.
  const others = [createFence(guardFolder), createFence(guardFolder)]
  await Promise.all(others.map((other) => other.raise(order)))
  await eventually(async () => (await guards()) === 1 || undefined)
  t.true(await fence.isRaised())
})

onLinux('a guard holds a machine that starts without a lease, as often as it starts', async (t) => {
  const { cloud, fence, order, isHeld } = await fenced(t)
  await fence.raise(order)
  await cloud.start('one')
  await isHeld()
  await wake(cloud)
  await isHeld()
  t.pass()
})

onLinux('a machine that was held runs on when there is a lease again', async (t) => {
  const { cloud, fence, order, isHeld } = await fenced(t)
  await fence.raise(order)
  await cloud.start('one')
  await isHeld()
  await fence.extend(bootNow() + 60_000)
  // A harder step may be on its way where the pause took long, and hold it once more; no other follows.
  await eventually(async () => {
    await wake(cloud)
    // Longer than a guard takes to look twice.
    const seen = bootNow()
    await eventually(() => bootNow() > seen + 600 || undefined)
    return (await cloud.state('one')) === 'running' || undefined
  })
  t.pass()
})

onLinux('a lifted guard ends, leaves the machine running, and nothing of itself', async (t) => {
  const { cloud, fence, order, guardFolder } = await fenced(t)
  await fence.raise(order)
  await fence.extend(bootNow() + 60_000)
  await cloud.start('one')
  const guard = await readWatching(guardFolder)
  await fence.lift()
  t.is(await processFacts(guard!.pid), undefined)
  t.is(await readWatching(guardFolder), undefined)
  t.is(await cloud.state('one'), 'running')
})

onLinux('a guard that is asked to end holds its machine first', async (t) => {
  const { cloud, fence, order, guardFolder } = await fenced(t)
  await fence.raise(order)
  await fence.extend(bootNow() + 60_000)
  await cloud.start('one')
  const guard = await readWatching(guardFolder)
  await signalProcess(guard!, 'SIGTERM')
  t.true(await hasEnded(guard!, performance.now() + 20_000))
  // Paused, or without power where that took too long.
  t.not(await cloud.state('one'), 'running')
})

onLinux('a guard whose home is gone holds its machine, and ends', async (t) => {
  const { cloud, fence, order, guardFolder } = await fenced(t)
  await fence.raise(order)
  await fence.extend(bootNow() + 60_000)
  await cloud.start('one')
  const guard = await readWatching(guardFolder)
  await rm(guardFolder, { recursive: true })
  t.true(await hasEnded(guard!, performance.now() + 20_000))
  t.not(await cloud.state('one'), 'running')
})

onLinux('raise() starts another guard when the first was killed', async (t) => {
  const { cloud, fence, order, guardFolder, isHeld } = await fenced(t)
  await fence.raise(order)
  const first = await readWatching(guardFolder)
  await signalProcess(first!, 'SIGKILL')
  await hasEnded(first!, performance.now() + 20_000)
  t.false(await fence.isRaised())
  await fence.raise(order)
  t.not((await readWatching(guardFolder))?.pid, first?.pid)
  await cloud.start('one')
  await isHeld()
})

/** A guard in this process over a cloud with some calls replaced, without a lease. */
function guardOver(
  t: Parameters<typeof localStage>[0],
  cloud: Cloud,
  members: Partial<Record<keyof Cloud, unknown>>,
  kill: () => Promise<void> = async () => {},
) {
  const stop = new AbortController()
  let word: GuardWord = { until: Number.NEGATIVE_INFINITY }
  const log: string[] = []
  const ended = guardMachine({
    cloud: override(cloud, members),
    name: 'one',
    word: async () => word,
    now: bootNow,
    abandoned: async () => false,
    kill,
    log: (what) => log.push(what),
    signal: stop.signal,
  })
  t.teardown(async () => {
    word = { lifted: true }
    await ended
  })
  return { log, stop, ended }
}

onLinux('guardMachine() takes the power when pausing fails', async (t) => {
  const { cloud, machine } = await localStage(t)
  await machine('one')
  await cloud.start('one')
  const { log } = guardOver(t, cloud, { pause: async () => Promise.reject(new Error('no')) })
  await eventually(async () => (await cloud.state('one')) === 'stopped' || undefined)
  t.true(log.some((line) => line.includes('pause failed')))
})

onLinux('guardMachine() takes the power of a machine that cannot be paused', async (t) => {
  const { cloud, machine } = await localStage(t)
  await machine('one')
  await cloud.start('one')
  const { log } = guardOver(t, cloud, { supports: { ...cloud.supports, pause: false } })
  await eventually(async () => (await cloud.state('one')) === 'stopped' || undefined)
  t.false(log.some((line) => line.endsWith('is paused')))
})

onLinux('guardMachine() kills when the cloud neither pauses, stops nor answers', async (t) => {
  const { cloud, machine } = await localStage(t)
  await machine('one')
  const silent = () => new Promise(() => {})
  const killed = Promise.withResolvers<void>()
  guardOver(t, cloud, { pause: silent, stop: silent, state: silent }, async () => killed.resolve())
  await killed.promise
  t.pass()
})

onLinux('killWriters() ends who writes to a disk, and leaves who reads it', async (t) => {
  const folder = await tempDir(t)
  const disk = join(folder, 'disk')
  await mkdir(folder, { recursive: true })
  await using file = await open(disk, 'w')
  await file.write('x')
  await file.close()
  const writer = spawn('sh', ['-c', 'exec sleep 1000 3>>"$1"', 'x', disk])
  const reader = spawn('sh', ['-c', 'exec sleep 1000 3<"$1"', 'x', disk])
  t.teardown(() => {
    writer.kill('SIGKILL')
    reader.kill('SIGKILL')
  })
  await Promise.all([once(writer, 'spawn'), once(reader, 'spawn')])
  const gone = once(writer, 'exit')
  await eventually(async () => ((await killWriters([disk])).includes(writer.pid!) ? true : undefined))
  t.deepEqual(await gone, [null, 'SIGKILL'])
  t.not(await processFacts(reader.pid!), undefined)
})
