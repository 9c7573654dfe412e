/** The `qemu` cloud under a real guest that writes all the time. */
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Cloud, DiskSnapshot } from '../../../agent/clouds/cloud.ts'
import { openQemuCloud } from '../../../agent/clouds/qemu.ts'
import { RangeSet } from '../../../protocol/extent.ts'
import { openSink, openSource } from '../../../transfer/open.ts'
import { eventually } from '../../helpers/eventually.ts'
import { tempDir } from '../../helpers/temp-dir.ts'
import { buildGuest, type GuestImages, guestMachine, guestMissing } from '../../lab/guest.ts'
import { freePort } from '../../helpers/free-port.ts'

const skip = guestMissing()
const withGuest = skip === undefined ? test : test.skip
const why = skip === undefined ? '' : ` (${skip})`
const OWNER = 'c'.repeat(32)

withGuest(`qemu snapshots make a copy that boots and has every acknowledged record${why}`, async (t) => {
  const folder = await tempDir(t)
  const images = await guestImages(t, folder)
  if (!images) return
  const cloud = await openCloud(t, join(folder, 'm'))
  const port = await freePort()
  await cloud.define(guestMachine('shop', images, { httpPort: port }))
  await cloud.start('shop')
  await ready(port)
  await get(port, 'load?kib=1024')

  const copy: GuestImages = {
    ...images,
    root: join(folder, 'copy-root.raw'),
    data: join(folder, 'copy-data.raw'),
  }
  const targets = { vda: copy.root, vdb: copy.data }
  const known = new Map<string, string>()
  let acknowledged = 0
  for (let round = 0; round < 4; round++) {
    for (let count = 0; count < 5; count++)
      if ((await get(port, `record?n=${acknowledged + 1}`)) === `ok ${acknowledged + 1}\n`) acknowledged++
    if (round === 3) await cloud.pause('shop')
    await using shown = await cloud.snapshot('shop', OWNER)
    for (const disk of shown.disks) {
      t.is(disk.dirty === undefined, round === 0)
      await copyChanged(disk, targets[disk.disk as 'vda' | 'vdb'], known.get(disk.disk))
      known.set(disk.disk, disk.epoch)
    }
  }
  await cloud.release(OWNER)
  await cloud.stop('shop', { graceMs: 0 })

  await cloud.define(guestMachine('copy', copy, { httpPort: port }))
  await cloud.start('copy')
  await ready(port)
  const expected = Array.from({ length: acknowledged }, (_, index) => `${index + 1}\n`).join('')
  t.is(await get(port, 'records'), expected)
  t.is(await get(port, 'records?tier=redis'), expected)
  t.is(acknowledged, 20)
  await cloud.stop('copy', { graceMs: 60_000 })
  t.is(await cloud.state('copy'), 'stopped')
})

/** Undefined, and told so, where the kernel cannot be fetched. */
async function guestImages(t: ExecutionContext, folder: string): Promise<GuestImages | undefined> {
  try {
    await mkdir(join(folder, 'g'))
    return await buildGuest(join(folder, 'g'))
  } catch (error) {
    t.log(`skipped: no guest can be built here: ${String(error)}`)
    t.pass()
    return undefined
  }
}

async function openCloud(t: ExecutionContext, machines: string): Promise<Cloud> {
  const cloud = await openQemuCloud({ machines, accel: 'tcg', bridges: [] })
  t.teardown(async () => {
    for (const name of await cloud.machines()) await cloud.stop(name, { graceMs: 0 })
  })
  return cloud
}

/** Copies all of a disk, or what is dirty of an epoch that is known. */
async function copyChanged(disk: DiskSnapshot, path: string, knownEpoch: string | undefined): Promise<void> {
  await using source = await openSource(disk.url)
  const whole = knownEpoch !== disk.epoch || !disk.dirty
  if (whole) await makeFile(path, disk.sizeBytes)
  await using sink = await openSink(`file://${path}`)
  const ranges = new RangeSet(whole ? [] : disk.dirty)
  if (whole) for await (const { offset, length } of source.extents(0)) ranges.add(offset, offset + length)
  for (const { start, end } of ranges) {
    for (let at = start; at < end; at += 1 << 20) {
      const bytes = Buffer.alloc(Math.min(1 << 20, end - at))
      await source.read(bytes, at)
      await sink.write(bytes, at)
    }
  }
  await sink.sync()
}

async function makeFile(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, 'w')
  await file.truncate(sizeBytes)
  await file.close()
}

async function ready(port: number): Promise<void> {
  await eventually(async () => (await get(port, 'ready', 1_000).catch(() => '')) || undefined)
}

async function get(port: number, what: string, timeoutMs = 10_000): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/cgi-bin/${what}`, {
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (!answer.ok) throw new Error(`${what}: ${answer.status}`)
  return answer.text()
}
