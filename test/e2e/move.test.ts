/** Moving raw volumes between two agents: every byte, every hole, and the numbers that are reported about them. */
import { open, stat, writeFile } from 'node:fs/promises'
import ava from 'ava'
import { startPair, type AgentPair, type Line } from '../helpers/agent-process.ts'
import { diskBytes, MiB, noise, prose, sameBytes, scattered, writeVolume } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

/** What may be taken by metadata of the file system. */
const SLACK_BYTES = MiB / 2
const ROOT = /^b3:[0-9a-f]{64}$/

/** Moves a volume and compares it byte by byte; gives the result line. */
async function moveAndCompare(pair: AgentPair, name: string, ...options: string[]): Promise<Line> {
  const result = await pair.alpine.tell('move', pair.source(name), `boreal:${name}`, ...options)
  if (!(await sameBytes(pair.source(name), pair.at(name)))) throw new Error(`${name} differs`)
  return result
}

test('move keeps bytes and holes, and reports what it did', async (t) => {
  const pair = await startPair(t)
  const data = [
    { offset: 0, bytes: noise(5 * MiB, 1) },
    { offset: 40 * MiB + 12345, bytes: prose(3 * MiB, 2) },
    { offset: 200 * MiB - 777, bytes: noise(777, 3) },
  ]
  await writeVolume(pair.source('disk.raw'), 200 * MiB, data)
  const { lines, exit } = await pair.alpine.run('move', pair.source('disk.raw'), 'boreal:disk.raw')
  t.is(exit, 0)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  t.true((await diskBytes(pair.at('disk.raw'))) <= (await diskBytes(pair.source('disk.raw'))) + SLACK_BYTES)

  const result = lines.at(-1) as Line
  const fields =
    'v type job state logicalBytes wireBytes sentBytes dedupedBytes zeroBytes resumedBytes root seconds path'
  t.deepEqual(Object.keys(result), fields.split(' '))
  t.like(result, {
    v: 1,
    type: 'result',
    state: 'complete',
    logicalBytes: 200 * MiB,
    resumedBytes: 0,
    path: 'tls',
  })
  t.regex(result.root, ROOT)
  // Data is counted in blocks of 4 KiB: an extent that begins or ends within one is rounded up.
  const dataBytes = 8 * MiB + 777
  t.true(result.sentBytes >= dataBytes && result.sentBytes < dataBytes + 3 * 4096, `sent ${result.sentBytes}`)
  t.is(result.zeroBytes, result.logicalBytes - result.sentBytes)
  t.is(result.dedupedBytes, 0)
  t.true(result.wireBytes > 5 * MiB && result.wireBytes < dataBytes * 1.05, `wire ${result.wireBytes}`)
  const progress = lines.slice(0, -1)
  t.true(progress.length > 0)
  for (const line of progress) {
    t.like(line, { v: 1, type: 'progress', job: result.job })
    const numbers = 'logicalBytes doneBytes wireBytes dedupedBytes zeroBytes bytesPerSecond'.split(' ')
    t.true(
      numbers.every((key) => Number.isSafeInteger(line[key])),
      JSON.stringify(line),
    )
  }
})

test('move takes volumes of every odd size', async (t) => {
  const pair = await startPair(t)
  const sizes = [0, 1, 4095, 4097, 65_537, 4 * MiB - 1, 4 * MiB, 4 * MiB + 1, 9 * MiB + 511]
  await Promise.all(sizes.map((size) => writeFile(pair.source(`v${size}.raw`), noise(size, size))))
  const results = await Promise.all(sizes.map((size) => moveAndCompare(pair, `v${size}.raw`)))
  for (const [i, size] of sizes.entries()) {
    t.like(
      results[i],
      {
        state: 'complete',
        logicalBytes: size,
        sentBytes: size,
        zeroBytes: 0,
        path: size > 0 ? 'tls' : 'libp2p',
      },
      `${size} bytes`,
    )
    t.is((await stat(pair.at(`v${size}.raw`))).size, size)
  }
  t.is(new Set(results.map(({ root }) => root)).size, sizes.length)
})

test('move sends nothing of zeros, whether they are written or holes', async (t) => {
  const pair = await startPair(t)
  await writeVolume(pair.source('hole.raw'), 32 * MiB, [])
  await writeFile(pair.source('zero.raw'), Buffer.alloc(32 * MiB))
  const hole = await moveAndCompare(pair, 'hole.raw')
  const zero = await moveAndCompare(pair, 'zero.raw')
  for (const result of [hole, zero])
    t.like(result, { sentBytes: 0, zeroBytes: 32 * MiB, logicalBytes: 32 * MiB })
  t.is(hole.root, zero.root)
  for (const name of ['hole.raw', 'zero.raw']) t.true((await diskBytes(pair.at(name))) <= SLACK_BYTES)
})

test('move of 1 TiB that is nearly all hole costs what its data costs', async (t) => {
  const pair = await startPair(t)
  const sizeBytes = 2 ** 40
  const stretches = scattered(sizeBytes, 200, MiB, 10)
  await writeVolume(pair.source('huge.raw'), sizeBytes, stretches)
  const result = await pair.alpine.tell('move', pair.source('huge.raw'), 'boreal:huge.raw')
  t.like(result, { logicalBytes: sizeBytes, sentBytes: 200 * MiB, zeroBytes: sizeBytes - 200 * MiB })
  t.true((await diskBytes(pair.at('huge.raw'))) <= 200 * MiB + 16 * MiB)
  // What is not a hole at the target is what is compared here: the two together are every byte of it.
  await using copy = await open(pair.at('huge.raw'))
  const read = Buffer.alloc(MiB)
  for (const { offset, bytes } of stretches) {
    await copy.read(read, 0, MiB, offset)
    if (!read.equals(bytes)) t.fail(`The data at ${offset} differs`)
  }
  const peaks = await Promise.all([pair.alpine.peakRssBytes(), pair.boreal.peakRssBytes()])
  t.log(
    `${result.seconds.toFixed(1)} s, peak RSS ${peaks.map((bytes) => `${Math.round(bytes / MiB)} MiB`).join(' and ')}`,
  )
  for (const peak of peaks) t.true(peak < 400 * MiB, `${peak / MiB} MiB`)
})

test('move keeps every byte when compressed lanes share a thread', async (t) => {
  const pair = await startPair(t)
  const source = pair.source('prose.raw')
  await writeVolume(source, 96 * MiB, [{ offset: 0, bytes: prose(96 * MiB, 5) }])
  await pair.alpine.tell('move', source, 'boreal:prose.raw', '--compress', 'on', '--streams', '8')
  t.true(await sameBytes(source, pair.at('prose.raw')))
})

test('move --compress decides whether what compresses is compressed', async (t) => {
  const pair = await startPair(t)
  for (const how of ['on', 'off', 'auto'])
    await writeFile(pair.source(`${how}.raw`), prose(16 * MiB, how.length))
  const on = await moveAndCompare(pair, 'on.raw', '--compress', 'on')
  const off = await moveAndCompare(pair, 'off.raw', '--compress', 'off')
  const auto = await moveAndCompare(pair, 'auto.raw')
  t.true(on.wireBytes < 4 * MiB, `on: ${on.wireBytes}`)
  t.true(off.wireBytes > 16 * MiB, `off: ${off.wireBytes}`)
  t.true(auto.wireBytes < 17 * MiB, `auto: ${auto.wireBytes}`)
  for (const { sentBytes } of [on, off, auto]) t.is(sentBytes, 16 * MiB)
})

test('move --bwlimit is never faster than that', async (t) => {
  const pair = await startPair(t)
  await writeFile(pair.source('slow.raw'), noise(12 * MiB, 4))
  const { seconds } = await moveAndCompare(pair, 'slow.raw', '--bwlimit', '8MiB/s', '--streams', '2')
  // A pacer may begin with a burst.
  t.true(seconds > 0.9, `${seconds} s`)
})

test('move --verify deep reads the target again and says so in the receipt', async (t) => {
  const pair = await startPair(t)
  await writeVolume(pair.source('deep.raw'), 64 * MiB, [{ offset: 8 * MiB, bytes: noise(8 * MiB, 5) }])
  const { job, root } = await moveAndCompare(pair, 'deep.raw', '--verify', 'deep')
  const receipt = await pair.alpine.tell('receipt', job)
  t.like(receipt, { verifiedDeep: true, root })
})

test('move --detach leaves at once, and watch follows to the end', async (t) => {
  const pair = await startPair(t)
  await writeFile(pair.source('away.raw'), noise(8 * MiB, 6))
  const options = ['--detach', '--bwlimit', '8MiB/s']
  const { lines, exit } = await pair.alpine.run(
    'move',
    pair.source('away.raw'),
    'boreal:away.raw',
    ...options,
  )
  t.is(exit, 0)
  t.is(lines.length, 1)
  t.like(lines[0], { v: 1, type: 'progress', logicalBytes: 0 })
  const { job } = lines[0] as Line
  const watched = await pair.alpine.run('watch', job)
  t.is(watched.exit, 0)
  t.like(watched.lines.at(-1), { type: 'result', job, state: 'complete' })
  t.true(await sameBytes(pair.source('away.raw'), pair.at('away.raw')))
  const jobs = await pair.boreal.run('jobs')
  t.like(jobs.lines[0], {
    type: 'job',
    job,
    state: 'complete',
    direction: 'in',
    peerName: 'alpine',
    destination: 'away.raw',
  })
})
