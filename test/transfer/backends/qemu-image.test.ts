import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import anyTest from 'ava'
import { detectImageFormat } from '../../../transfer/backends/image-format.ts'
import { openNbdSink, openNbdSource } from '../../../transfer/backends/nbd.ts'
import {
  createQcow2,
  fingerprintOf,
  openQcow2,
  openQemuImage,
} from '../../../transfer/backends/qemu-image.ts'
import { testSink } from '../../conformance/sink.ts'
import { testSource } from '../../conformance/source.ts'
import { cachedBytes, hasProgram, noSmallFileSystems, run, smallFileSystem } from '../../helpers/programs.ts'
import { sparseContent, writeSparse } from '../../helpers/sparse-content.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = hasProgram('qemu-nbd') && hasProgram('qemu-img') ? undefined : 'needs qemu-utils'
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

testSource('qcow2', {
  skip,
  granularityBytes: 512,
  async open(t, content) {
    const image = join(await tempDir(t), 'disk.qcow2')
    await makeImage(image, ['-O', 'qcow2', '-c'], content)
    const served = await openQemuImage(image, 'qcow2', { lanes: 1 })
    t.teardown(() => served[Symbol.asyncDispose]())
    return openNbdSource(served.url)
  },
})

testSink('qcow2', {
  skip,
  granularityBytes: 512,
  async create(t, sizeBytes) {
    const image = join(await tempDir(t), 'disk.qcow2')
    await createQcow2(image, sizeBytes)
    const served = await openQcow2(image, { lanes: 2 })
    t.teardown(() => served[Symbol.asyncDispose]())
    return { open: () => openNbdSink(served.url) }
  },
})

const images: Record<string, string[]> = {
  qcow2: ['-O', 'qcow2'],
  vmdk: ['-O', 'vmdk', '-o', 'subformat=streamOptimized'],
  vhdx: ['-O', 'vhdx'],
  vdi: ['-O', 'vdi'],
  vpc: ['-O', 'vpc', '-o', 'force_size=on'],
}

for (const [format, options] of Object.entries(images)) {
  test(`openQemuImage() reads ${format}, told by its magic bytes${why}`, async (t) => {
    const content = sparseContent(2 << 20, 21)
    const image = join(await tempDir(t), 'image')
    await makeImage(image, options, content)
    t.is<string, string>(await detectImageFormat(image), format)
    await using served = await openQemuImage(image, await detectImageFormat(image), { lanes: 1 })
    await using source = await openNbdSource(served.url)
    const back = Buffer.alloc(content.length)
    await source.read(back, 0)
    t.true(back.equals(content))
    t.deepEqual(served.files, [image])
  })
}

test(`detectImageFormat() knows a fixed VHD by its footer, and leaves raw alone${why}`, async (t) => {
  const folder = await tempDir(t)
  const vhd = join(folder, 'fixed.vhd')
  await makeImage(vhd, ['-O', 'vpc', '-o', 'subformat=fixed,force_size=on'], sparseContent(1 << 20))
  t.is(await detectImageFormat(vhd), 'vpc')
  const bytes = Buffer.alloc(5000)
  bytes.write('conectix', 5000 - 512)
  await writeFile(join(folder, 'disk'), bytes)
  t.is(await detectImageFormat(join(folder, 'disk')), 'raw')
  await writeFile(join(folder, 'tiny'), 'x')
  t.is(await detectImageFormat(join(folder, 'tiny')), 'raw')
  await writeFile(join(folder, 'guest.raw'), 'QFI\xfb', 'latin1')
  t.is(await detectImageFormat(join(folder, 'guest.raw')), 'raw', 'a name that ends in .raw')
})

test(`openQemuImage() follows backing files and fingerprints them${why}`, async (t) => {
  const folder = await tempDir(t)
  const [base, top] = [join(folder, 'base.qcow2'), join(folder, 'top.qcow2')] as const
  const content = sparseContent(1 << 20, 22)
  await makeImage(base, ['-O', 'qcow2'], content)
  await run('qemu-img', ['create', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', top])
  await using served = await openQemuImage(top, 'qcow2', { lanes: 1 })
  t.deepEqual(served.files, [top, base])
  await using source = await openNbdSource(served.url)
  const back = Buffer.alloc(content.length)
  await source.read(back, 0)
  t.true(back.equals(content))
  const before = await fingerprintOf(served.files)
  await utimes(base, 1, 1)
  t.not(await fingerprintOf(served.files), before)
})

test(`openQemuImage() refuses images that reach over a network${why}`, async (t) => {
  const folder = await tempDir(t)
  for (const reference of [
    'nbd://192.0.2.1/x',
    'json:{"driver":"nbd","host":"192.0.2.1"}',
    'https://192.0.2.1/x',
  ]) {
    const image = join(folder, 'disk.qcow2')
    await run('qemu-img', ['create', '-f', 'qcow2', '-u', '-b', reference, '-F', 'raw', image, '1M'])
    await t.throwsAsync(openQemuImage(image, 'qcow2', { lanes: 1 }), {
      code: 'FORMAT_UNSUPPORTED',
      message: /reference/,
    })
  }
})

test(`openQemuImage() follows files elsewhere only when it is told to${why}`, async (t) => {
  const folder = await tempDir(t)
  const secret = join(await tempDir(t), 'secret')
  await writeFile(secret, Buffer.alloc(1 << 20, 7))
  const overlay = join(folder, 'overlay')
  await run('qemu-img', ['create', '-f', 'qcow2', '-b', secret, '-F', 'raw', overlay])
  const split = join(folder, 'split')
  await run('qemu-img', ['create', '-f', 'qcow2', '-o', `data_file=${secret},data_file_raw=on`, split, '1M'])
  const extent = join(folder, 'extent')
  const lines = ['# Disk DescriptorFile', 'version=1', 'CID=fffffffe', 'parentCID=ffffffff']
  await writeFile(extent, [...lines, 'createType="monolithicFlat"', `RW 2048 FLAT "${secret}" 0`].join('\n'))
  for (const image of [overlay, split, extent]) {
    const format = await detectImageFormat(image)
    await t.throwsAsync(openQemuImage(image, format, { lanes: 1 }), {
      code: 'FORMAT_UNSUPPORTED',
      message: /outside its folder/,
    })
    await using served = await openQemuImage(image, format, { lanes: 1, others: 'any' })
    t.deepEqual(served.files, [image, secret])
  }
})

test(`openQemuImage() refuses what qemu finds behind a backing file whose format is not said${why}`, async (t) => {
  const folder = await tempDir(t)
  const secret = join(await tempDir(t), 'secret')
  await writeFile(secret, Buffer.alloc(1 << 20, 7))
  const [hidden, top] = [join(folder, 'hidden'), join(folder, 'top')] as const
  await run('qemu-img', ['create', '-f', 'qed', '-b', secret, '-F', 'raw', hidden])
  await run('qemu-img', ['create', '-u', '-f', 'qcow2', '-b', 'hidden', '-F', 'qed', top, '1M'])
  // qemu-img makes none without it, and qemu takes none for unknown.
  const bytes = await readFile(top)
  bytes.writeUInt32BE(0x7fffffff, bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca])))
  await writeFile(top, bytes)
  t.is(await detectImageFormat(hidden), 'raw')
  await t.throwsAsync(openQemuImage(top, 'qcow2', { lanes: 1 }), {
    code: 'FORMAT_UNSUPPORTED',
    message: /does not name/,
  })
})

test(`openQemuImage() that wants a whole image refuses one with parts elsewhere, beside it too${why}`, async (t) => {
  const folder = await tempDir(t)
  const content = sparseContent(1 << 20, 24)
  const [whole, overlay, split] = ['whole', 'overlay', 'split'].map((name) => join(folder, name))
  await makeImage(whole, ['-O', 'qcow2'], content)
  await run('qemu-img', ['create', '-f', 'qcow2', '-b', whole, '-F', 'qcow2', overlay])
  await run('qemu-img', ['create', '-f', 'qcow2', '-o', `data_file=${split}.data`, split, '1M'])
  for (const image of [overlay, split])
    await t.throwsAsync(openQemuImage(image, 'qcow2', { lanes: 1, others: 'none' }), {
      code: 'FORMAT_UNSUPPORTED',
      message: /parts in other files/,
    })
  await t.throwsAsync(openQemuImage(whole, 'vmdk', { lanes: 1, others: 'none' }), {
    code: 'FORMAT_UNSUPPORTED',
  })
  await using served = await openQemuImage(whole, 'qcow2', { lanes: 1, others: 'none' })
  await using source = await openNbdSource(served.url)
  const back = Buffer.alloc(content.length)
  await source.read(back, 0)
  t.true(back.equals(content))
})

test(`openQemuImage() says that an image is damaged, missing or in use${why}`, async (t) => {
  const folder = await tempDir(t)
  await writeFile(join(folder, 'bad'), 'QFI\xfbnonsense', 'latin1')
  await t.throwsAsync(openQemuImage(join(folder, 'bad'), 'qcow2', { lanes: 1 }), {
    code: 'FORMAT_UNSUPPORTED',
  })
  const image = join(folder, 'disk.qcow2')
  await createQcow2(image, 1 << 20)
  await using writer = await openQcow2(image, { lanes: 1 })
  await t.throwsAsync(openQemuImage(image, 'qcow2', { lanes: 1 }), {
    code: 'SOURCE_CHANGED',
    message: /open/,
  })
  await t.throwsAsync(openQcow2(image, { lanes: 1 }), { code: 'NAME_BUSY' })
  t.truthy(writer.url)
})

anyTest.serial('openQcow2() without qemu-utils says what to install', async (t) => {
  const path = process.env.PATH
  process.env.PATH = await tempDir(t)
  try {
    await t.throwsAsync(createQcow2('/nowhere/x', 512), { code: 'FORMAT_UNSUPPORTED', message: /qemu-img/ })
    const error = await t.throwsAsync(openQcow2('/nowhere/x', { lanes: 1 }), { code: 'FORMAT_UNSUPPORTED' })
    t.regex((error as unknown as { hint: string }).hint, /qemu-utils/)
  } finally {
    process.env.PATH = path
  }
})

test(`openQcow2() keeps what was flushed, ends its server and leaves no socket${why}`, async (t) => {
  const image = join(await tempDir(t), 'disk.qcow2')
  await createQcow2(image, 1 << 20)
  const served = await openQcow2(image, { lanes: 1 })
  const sink = await openNbdSink(served.url)
  await sink.write(Buffer.from('kept'), 77_777)
  await sink.sync()
  await sink[Symbol.asyncDispose]()
  await served[Symbol.asyncDispose]()
  await served[Symbol.asyncDispose]()
  const { stdout } = await run('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -v 77777 4', image])
  t.regex(stdout, /6b 65 70 74/)
  const socket = new URL(served.url).searchParams.get('socket')!
  t.false((await readdir(tmpdir())).some((entry) => socket.includes(`/${entry}/`)))
})

const noDisk = skip ?? noSmallFileSystems() ?? (hasProgram('fincore') ? undefined : 'needs fincore')
const diskTest = noDisk === undefined ? anyTest.serial : anyTest.skip

diskTest(`openQcow2() writes past the page cache${noDisk ? ` (${noDisk})` : ''}`, async (t) => {
  const image = join(await smallFileSystem(t, await tempDir(t), 32 << 20), 'disk.qcow2')
  await createQcow2(image, 8 << 20)
  const content = sparseContent(8 << 20, 5)
  await using served = await openQcow2(image, { lanes: 1 })
  await using sink = await openNbdSink(served.url)
  // Neither begins nor ends with a block.
  await sink.write(content.subarray(0, 1000), 0)
  await sink.write(content.subarray(1000), 1000)
  await sink.sync()
  const read = Buffer.alloc(content.length)
  await sink.read(read, 0)
  t.true(read.equals(content))
  const headersBytes = 256 * 1024
  t.true((await cachedBytes(image)) <= headersBytes)
})

test(`openQcow2() server ends by itself when its owner is killed${why}`, async (t) => {
  const image = join(await tempDir(t), 'disk.qcow2')
  await createQcow2(image, 1 << 20)
  const module = new URL('../../../transfer/backends/qemu-image.ts', import.meta.url).href
  const script = `const { openQcow2 } = await import('${module}'); const s = await openQcow2('${image}', { lanes: 1 }); console.log(s.url); setInterval(() => {}, 1e9)`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [url] = (await once(owner.stdout, 'data')) as [Buffer]
  owner.kill('SIGKILL')
  await once(owner, 'exit')
  // The lock is the proof: it is free once the server has gone.
  const served = await patiently(() => openQcow2(image, { lanes: 1 }))
  await served[Symbol.asyncDispose]()
  await rm(new URL(url.toString().trim()).searchParams.get('socket')!.replace(/\/nbd$/, ''), {
    recursive: true,
    force: true,
  })
  t.pass()
})

async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 100; ; left--) {
    try {
      return await attempt()
    } catch (error) {
      if (left === 0) throw error
    }
  }
}

async function makeImage(image: string, options: string[], content: Buffer): Promise<void> {
  await writeSparse(`${image}.source`, content)
  await run('qemu-img', ['convert', '-f', 'raw', ...options, `${image}.source`, image])
  await rm(`${image}.source`)
}
