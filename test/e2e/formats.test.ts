/** Moves from and to everything that is not a raw file: images, NBD exports, block devices. */
import { open, readFile, writeFile } from 'node:fs/promises'
import ava, { type ExecutionContext } from 'ava'
import { startPair, type AgentPair } from '../helpers/agent-process.ts'
import { hasProgram, loopDevice, nbdkit, noLoopDevices, run } from '../helpers/programs.ts'
import { MiB, noise, overwrite, prose, sameBytes, writeVolume } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial
const withImages = hasProgram('qemu-img') && hasProgram('qemu-nbd') ? test : ava.skip
const withNbdkit = hasProgram('nbdkit') ? test : ava.skip
const withLoops = noLoopDevices() === undefined ? test : ava.skip
const note = (reason: string | undefined | false) => (reason ? ` (skipped: ${reason})` : '')
const imageNote = note(withImages === ava.skip && 'needs qemu-utils')

const SIZE_BYTES = 48 * MiB

/** A raw volume with noise, text and holes. */
async function writeDisk(path: string): Promise<void> {
  await writeVolume(path, SIZE_BYTES, [
    { offset: 0, bytes: prose(6 * MiB, 1) },
    { offset: 20 * MiB, bytes: noise(3 * MiB, 2) },
    { offset: SIZE_BYTES - 4096, bytes: noise(4096, 3) },
  ])
}

async function movesImage(t: ExecutionContext, format: string, options: string[]): Promise<void> {
  const pair = await startPair(t)
  await writeDisk(pair.source('disk.raw'))
  const image = pair.source(`disk.${format}`)
  await run('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, pair.source('disk.raw'), image])
  const result = await pair.alpine.tell('move', image, 'boreal:from-image.raw')
  t.is(result.logicalBytes, SIZE_BYTES)
  await t.notThrowsAsync(
    run('qemu-img', ['compare', '-F', 'raw', '-f', format, image, pair.at('from-image.raw')]),
  )
  // What an image holds has the root of the same bytes in a raw file.
  const raw = await pair.alpine.tell('move', pair.source('disk.raw'), 'boreal:from-raw.raw')
  t.is(result.root, raw.root)
}

for (const [title, format, options] of [
  ['qcow2', 'qcow2', []],
  ['compressed qcow2', 'qcow2', ['-c']],
  ['vmdk', 'vmdk', []],
] as const) {
  withImages(`move reads ${title} as the volume it holds${imageNote}`, (t) =>
    movesImage(t, format, [...options]),
  )
}

withImages(
  `move --format qcow2 makes an image with the same contents, and verify reads it${imageNote}`,
  async (t) => {
    const pair = await startPair(t)
    await writeDisk(pair.source('disk.raw'))
    const { job, root } = await pair.alpine.tell(
      'move',
      pair.source('disk.raw'),
      'boreal:disk.qcow2',
      '--format',
      'qcow2',
    )
    const { stdout } = await run('qemu-img', ['info', '--output=json', pair.at('disk.qcow2')])
    t.like(JSON.parse(stdout), { format: 'qcow2', 'virtual-size': SIZE_BYTES })
    await t.notThrowsAsync(run('qemu-img', ['check', pair.at('disk.qcow2')]))
    const both = [pair.source('disk.raw'), pair.at('disk.qcow2')]
    await t.notThrowsAsync(run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', ...both]))
    t.like(await pair.alpine.tell('verify', job, '--deep'), { match: true, root })
  },
)

withNbdkit(`move reads an NBD export${note(withNbdkit === ava.skip && 'needs nbdkit')}`, async (t) => {
  const pair = await startPair(t)
  await writeDisk(pair.source('disk.raw'))
  const url = await nbdkit(t, ['--readonly', 'file', pair.source('disk.raw')])
  const { root } = await pair.alpine.tell('move', url, 'boreal:export.raw')
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('export.raw')))
  t.is((await pair.alpine.tell('move', pair.source('disk.raw'), 'boreal:file.raw')).root, root)
})

withNbdkit(
  `move writes to an NBD export that policy opened${note(withNbdkit === ava.skip && 'needs nbdkit')}`,
  async (t) => {
    const pair = await startPair(t)
    await writeDisk(pair.source('disk.raw'))
    await writeFile(pair.source('sink.raw'), noise(SIZE_BYTES, 9))
    const url = await nbdkit(t, ['file', pair.source('sink.raw')])
    await pair.boreal.tell('policy', 'set', 'alpine', '--target', `vol=${url}`)
    await pair.alpine.tell('move', pair.source('disk.raw'), 'boreal:vol', '--replace')
    t.true(await sameBytes(pair.source('disk.raw'), pair.source('sink.raw')))
  },
)

withNbdkit(
  `move refuses an NBD export that cannot be flushed${note(withNbdkit === ava.skip && 'needs nbdkit')}`,
  async (t) => {
    const pair = await startPair(t)
    await writeDisk(pair.source('disk.raw'))
    const url = await nbdkit(t, ['full', String(SIZE_BYTES)])
    await pair.boreal.tell('policy', 'set', 'alpine', '--target', `vol=${url}`)
    const { exit, lines } = await pair.alpine.run('move', pair.source('disk.raw'), 'boreal:vol', '--replace')
    t.not(exit, 0)
    t.like(lines.at(-1), { type: 'error', code: 'FORMAT_UNSUPPORTED' })
    t.regex(String(lines.at(-1)?.message), /^boreal cannot write there: the NBD server takes no flush/)
    t.false(JSON.stringify(lines).includes(url), 'Where it is, is not told')
  },
)

async function openedDevice(t: ExecutionContext, sizeBytes: number): Promise<AgentPair & { device: string }> {
  const pair = await startPair(t)
  await writeFile(pair.source('backing'), noise(sizeBytes, 9))
  const device = await loopDevice(t, pair.source('backing'))
  await pair.boreal.tell('policy', 'set', 'alpine', '--target', `vol=${device}`)
  return { ...pair, device }
}

const loopNote = note(noLoopDevices())

withLoops(`move writes to a block device that policy opened, holes as zeros${loopNote}`, async (t) => {
  const { alpine, device, source } = await openedDevice(t, SIZE_BYTES + 8 * MiB)
  await writeDisk(source('disk.raw'))
  const { job } = await alpine.tell('move', source('disk.raw'), 'boreal:vol', '--replace')
  await using volume = await open(device)
  const written = Buffer.alloc(SIZE_BYTES)
  await volume.read(written, 0, SIZE_BYTES, 0)
  t.true(written.equals(await readFile(source('disk.raw'))))
  const beyond = Buffer.alloc(8 * MiB)
  await volume.read(beyond, 0, beyond.length, SIZE_BYTES)
  t.true(
    beyond.equals(noise(SIZE_BYTES + 8 * MiB, 9).subarray(SIZE_BYTES)),
    'What lies beyond the volume is untouched',
  )
  t.like(await alpine.tell('verify', job, '--deep'), { match: true })
})

withLoops(`move of a new version to a block device sends what changed${loopNote}`, async (t) => {
  const { alpine, device, source } = await openedDevice(t, SIZE_BYTES)
  await writeDisk(source('disk.raw'))
  await alpine.tell('move', source('disk.raw'), 'boreal:vol', '--replace')
  await overwrite(source('disk.raw'), [{ offset: 21 * MiB, bytes: noise(100_000, 7) }])
  const { sentBytes } = await alpine.tell('move', source('disk.raw'), 'boreal:vol', '--replace')
  t.true(sentBytes < MiB, `sent ${sentBytes}`)
  t.true(await sameBytes(source('disk.raw'), device))
})

withLoops(`move reads a block device${loopNote}`, async (t) => {
  const pair = await startPair(t)
  await writeDisk(pair.source('disk.raw'))
  const device = await loopDevice(t, pair.source('disk.raw'))
  const { zeroBytes } = await pair.alpine.tell('move', device, 'boreal:copy.raw')
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('copy.raw')))
  t.true(zeroBytes > 38 * MiB)
})

withLoops(`plan and move refuse a device smaller than the volume${loopNote}`, async (t) => {
  const { alpine, source } = await openedDevice(t, SIZE_BYTES / 2)
  await writeDisk(source('disk.raw'))
  t.is((await alpine.run('plan', source('disk.raw'), 'boreal:vol', '--replace')).exit, 7)
  t.is((await alpine.run('move', source('disk.raw'), 'boreal:vol', '--replace')).exit, 7)
})
