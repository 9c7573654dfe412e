/** Killing anything at any moment, cutting the line, changing the source: the job ends by itself with the right bytes. */
import { chmod, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import { startPair, type AgentProcess } from '../helpers/agent-process.ts'
import { eventually } from '../helpers/eventually.ts'
import { hasProgram, run } from '../helpers/programs.ts'
import { startProxiedPair, type ProxiedPair } from '../helpers/proxied-pair.ts'
import { randomNumbers } from '../helpers/sparse-content.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { MiB, noise, overwrite, sameBytes, writeVolume } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial
const withImages = hasProgram('qemu-img') && hasProgram('qemu-nbd') ? test : ava.skip

const SIZE_BYTES = 64 * MiB
const DATA_BYTES = 48 * MiB
/** What a kill may cost: the issue's own figure. */
const TWICE_BYTES = 32 * MiB
/** Frames, TLS and handshakes, as a share of the data. */
const OVERHEAD = 1.02
const RATE = ['--bwlimit', '24MiB/s']

async function writeSource({ source }: ProxiedPair, seed: number): Promise<string> {
  await writeVolume(source('disk.raw'), SIZE_BYTES, [
    { offset: 0, bytes: noise(DATA_BYTES / 2, seed) },
    { offset: SIZE_BYTES - DATA_BYTES / 2, bytes: noise(DATA_BYTES / 2, seed + 1) },
  ])
  return source('disk.raw')
}

const KILLED = {
  'the receiver': ({ boreal }) => [boreal],
  'the sender': ({ alpine }) => [alpine],
  both: ({ alpine, boreal }) => [alpine, boreal],
} satisfies Record<string, (pair: ProxiedPair) => AgentProcess[]>

async function survives(t: ExecutionContext, who: keyof typeof KILLED): Promise<void> {
  const seed = Number(process.env.FLUIDCLOUD_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
  t.log(`FLUIDCLOUD_TEST_SEED=${seed}`)
  const random = randomNumbers(seed)
  const pair = await startProxiedPair(t)
  const killed = KILLED[who](pair)
  const job = await pair.alpine.begin(await writeSource(pair, 1), 'boreal:disk.raw', ...RATE)
  const before = DATA_BYTES * (0.1 + 0.3 * random())
  const after = DATA_BYTES * (0.5 + 0.4 * random())
  for (const bytes of [before, after]) {
    // The second time something was acknowledged, however fast it went: that is what is resumed.
    await pair.alpine.until(
      job,
      ({ doneBytes }) => pair.lineBytes() >= bytes && (bytes === before || doneBytes > 0),
    )
    await Promise.all(killed.map((agent) => agent.kill()))
    await Promise.all(killed.map((agent) => agent.start()))
    const restartedAt = performance.now()
    const carried = pair.lineBytes()
    await pair.alpine.until(job, () => pair.lineBytes() > carried + MiB)
    t.log(
      `killed at ${Math.round(bytes / MiB)} MiB, moving again ${Math.round(performance.now() - restartedAt)} ms after the restart`,
    )
  }
  const report = await pair.alpine.finish(job)
  await pair.boreal.finish(job)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')), 'Source and target are the same')
  t.true(report.resumedBytes > 0, `${report.resumedBytes} bytes were resumed`)
  const line = pair.lineBytes()
  t.log(`${((line - DATA_BYTES) / MiB).toFixed(1)} MiB more than the data on the line`)
  t.true(line < DATA_BYTES * OVERHEAD + TWICE_BYTES, `${line} bytes on the line`)
  for (const agent of [pair.alpine, pair.boreal]) {
    t.like(await agent.tell('receipt', job), {
      signaturesValid: true,
      root: report.root,
      logicalBytes: SIZE_BYTES,
    })
  }
  t.like(await pair.alpine.tell('verify', job), { match: true })
}

for (const who of ['the receiver', 'the sender', 'both'] as const) {
  test(`a job ends by itself after SIGKILL of ${who}, twice, and sends little twice`, (t) => survives(t, who))
}

test('a sender killed at the moment the receiver completes the job completes it without data', async (t) => {
  const pair = await startProxiedPair(t)
  const job = await pair.alpine.begin(await writeSource(pair, 1), 'boreal:disk.raw', ...RATE)
  await pair.boreal.until(job, ({ doneBytes }) => doneBytes > SIZE_BYTES / 2)
  await pair.boreal.finish(job)
  await pair.alpine.kill()
  const carried = pair.lineBytes()
  await pair.alpine.start()
  await pair.alpine.finish(job)
  t.true(pair.lineBytes() - carried < MiB)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  for (const agent of [pair.alpine, pair.boreal])
    t.like(await agent.tell('receipt', job), { signaturesValid: true })
})

test('a sender that was killed tells the bytes of all attempts, by path too, as the receipt does', async (t) => {
  const pair = await startPair(t)
  await writeFile(pair.source('disk.raw'), noise(48 * MiB, 1))
  const job = await pair.alpine.begin(pair.source('disk.raw'), 'boreal:disk.raw', '--bwlimit', '16MiB/s')
  await pair.alpine.until(job, ({ doneBytes }) => doneBytes >= 8 * MiB)
  await pair.alpine.kill()
  await pair.alpine.start()
  const result = await pair.alpine.tell('watch', job)
  const receipt = await pair.alpine.tell('receipt', job)
  t.is(result.sentBytes, receipt.sentBytes)
  t.is(result.resumedBytes, receipt.resumedBytes)
  t.true(Number(result.wireBytes) >= Number(receipt.wireBytes))
  const [{ wireBytes }] = await pair.alpine.jobs()
  const byPath = Object.values(receipt.bytesByPath as Record<string, number>)
  t.is(
    byPath.reduce((sum, bytes) => sum + bytes, 0),
    wireBytes,
  )
})

test('a job ends by itself when its lanes are cut again and again', async (t) => {
  const pair = await startProxiedPair(t)
  const job = await pair.alpine.begin(await writeSource(pair, 1), 'boreal:disk.raw', ...RATE)
  for (const share of [0.2, 0.45, 0.7]) {
    await pair.alpine.until(job, () => pair.lineBytes() >= DATA_BYTES * share)
    pair.cut()
  }
  await pair.alpine.finish(job)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  t.true(pair.lineBytes() < DATA_BYTES * OVERHEAD + TWICE_BYTES, `${pair.lineBytes()} bytes on the line`)
})

test('a job survives a line that is slow, delayed, and corrupts bytes', async (t) => {
  const pair = await startProxiedPair(t)
  for (const { up, down } of pair.proxies) {
    up.delayMs = down.delayMs = 5
    up.corruptAt = down.corruptAt = 9 * MiB
  }
  const { exit, lines } = await pair.alpine.run('move', await writeSource(pair, 1), 'boreal:disk.raw')
  t.is(exit, 0)
  t.like(lines.at(-1), { type: 'result', state: 'complete' })
  t.true(pair.proxies.some(({ up, down }) => up.corruptAt === undefined || down.corruptAt === undefined))
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
})

test('move follows its job across a restart of its own agent', async (t) => {
  const pair = await startProxiedPair(t)
  const move = pair.alpine.run('move', await writeSource(pair, 1), 'boreal:disk.raw', ...RATE)
  await pair.boreal.until((await firstJob(pair.boreal)).job, () => pair.lineBytes() > DATA_BYTES / 3)
  await pair.alpine.kill()
  await pair.alpine.start()
  const { exit, lines } = await move
  t.is(exit, 0)
  t.like(lines.at(-1), { type: 'result', state: 'complete', logicalBytes: SIZE_BYTES })
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
})

withImages(
  'staging that is gone is filled anew, also after SIGKILL as it is made (needs qemu-utils)',
  async (t) => {
    const pair = await startProxiedPair(t)
    const qcow2 = ['boreal:disk.qcow2', '--format', 'qcow2'] as const
    const job = await pair.alpine.begin(await writeSource(pair, 1), ...qcow2, ...RATE)
    await pair.boreal.until(job, ({ doneBytes }) => doneBytes > 0)
    await pair.boreal.kill()
    const folder = dirname(pair.at('disk.qcow2'))
    const staged = `.disk.qcow2.${job}.part`
    await rm(join(folder, staged))
    // A qemu-nbd that serves nothing, so that the attempt does not get beyond it.
    const programs = await tempDir(t)
    await writeFile(join(programs, 'qemu-nbd'), `#!/bin/sh\nwhile [ -e "$0" ]; do sleep 0.1; done\n`)
    await chmod(join(programs, 'qemu-nbd'), 0o700)
    await pair.boreal.start({ PATH: `${programs}:${process.env.PATH}` })
    await eventually(async () => (await readdir(folder)).includes(staged) || undefined)
    await pair.boreal.kill()
    await rm(join(programs, 'qemu-nbd'))
    await pair.boreal.start()
    const { root } = await pair.alpine.finish(job)
    const both = [pair.source('disk.raw'), pair.at('disk.qcow2')]
    await t.notThrowsAsync(run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', ...both]))
    t.like(await pair.alpine.tell('verify', job, '--deep'), { match: true, root })
  },
)

test('a job whose source was rewritten between kill and restart moves the new content', async (t) => {
  const pair = await startProxiedPair(t)
  const job = await pair.alpine.begin(await writeSource(pair, 1), 'boreal:disk.raw', ...RATE)
  await pair.alpine.until(job, () => pair.lineBytes() > DATA_BYTES / 2)
  await pair.alpine.kill()
  await overwrite(pair.source('disk.raw'), [{ offset: 3 * MiB, bytes: noise(9 * MiB, 77) }])
  await pair.alpine.start()
  const report = await pair.alpine.finish(job)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  t.like(await pair.alpine.tell('verify', job), { match: true, root: report.root })
  // What is staged already is found again by its digest, not sent again.
  t.true(
    pair.lineBytes() < (DATA_BYTES + 9 * MiB) * OVERHEAD + TWICE_BYTES,
    `${pair.lineBytes()} bytes on the line`,
  )
})

test('a job whose source is another file of the same size after the restart moves the new one', async (t) => {
  const pair = await startProxiedPair(t)
  const job = await pair.alpine.begin(await writeSource(pair, 1), 'boreal:disk.raw', ...RATE)
  await pair.alpine.until(job, () => pair.lineBytes() > DATA_BYTES / 2)
  await pair.alpine.kill()
  await writeVolume(pair.source('other.raw'), SIZE_BYTES, [{ offset: 10 * MiB, bytes: noise(6 * MiB, 55) }])
  await rename(pair.source('other.raw'), pair.source('disk.raw'))
  await pair.alpine.start()
  await pair.alpine.finish(job)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
})

test('a job whose source changes size meanwhile fails and says so', async (t) => {
  const pair = await startProxiedPair(t)
  const job = await pair.alpine.begin(await writeSource(pair, 1), 'boreal:disk.raw', ...RATE)
  await pair.alpine.until(job, () => pair.lineBytes() > DATA_BYTES / 4)
  await pair.alpine.kill()
  await writeFile(pair.source('disk.raw'), noise(MiB, 3))
  await pair.alpine.start()
  const { exit, lines } = await pair.alpine.run('watch', job)
  t.is(exit, 7)
  t.regex(String(lines.at(-1)?.message), /1048576 bytes now, 67108864 when the job began/)
})

test('a source that changes while it moves is scanned again, never mixed', async (t) => {
  const pair = await startProxiedPair(t)
  const job = await pair.alpine.begin(await writeSource(pair, 1), 'boreal:disk.raw', ...RATE)
  await pair.alpine.until(job, () => pair.lineBytes() > DATA_BYTES / 2)
  // Sent long ago.
  await overwrite(pair.source('disk.raw'), [{ offset: 100_000, bytes: noise(50_000, 88) }])
  const report = await pair.alpine.finish(job)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  t.like(await pair.alpine.tell('verify', job), { match: true, root: report.root })
})

test('a source that never stops changing ends the job with SOURCE_CHANGED and leaves nothing under its name', async (t) => {
  const pair = await startPair(t)
  await writeFile(pair.source('busy.raw'), noise(4 * MiB, 1))
  const touching = setInterval(() => void utimes(pair.source('busy.raw'), new Date(), new Date()), 5)
  t.teardown(() => clearInterval(touching))
  const { exit, lines } = await pair.alpine.run(
    'move',
    pair.source('busy.raw'),
    'boreal:busy.raw',
    '--bwlimit',
    '8MiB/s',
  )
  t.is(exit, 6)
  t.like(lines.at(-1), { type: 'error', code: 'SOURCE_CHANGED', exit: 6 })
  t.false(await sameBytes(pair.source('busy.raw'), pair.at('busy.raw')))
})

async function firstJob(agent: AgentProcess) {
  for (;;) {
    const [job] = await agent.jobs()
    if (job) return job
  }
}
