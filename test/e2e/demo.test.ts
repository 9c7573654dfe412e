/** `demo`, as a person runs it: everything it claims, and nothing left. */
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { createInterface } from 'node:readline'
import ava from 'ava'
import { spawnProgram, type Line } from '../helpers/agent-process.ts'
import { collect } from '../helpers/collect.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const test = ava.serial
const parent = tmpdir()

test('demo holds what it claims and cleans up', async (t) => {
  t.timeout(170_000)
  process.env.TMPDIR = await tempDir(t, parent)
  const demo = spawnProgram(['demo', '--json'])
  const ended = once(demo, 'exit')
  const lines = (await collect(createInterface(demo.stdout!))).map((line) => JSON.parse(line) as Line)
  t.is((await ended)[0], 0)
  const steps =
    'create-disk start-agents pair kill restart move-first compare change-disk move-second compare verify receipt'
  t.deepEqual(
    lines.filter(({ type }) => type === 'step').map(({ step }) => step),
    steps.split(' '),
  )
  const outcome = lines.at(-1) as Line
  t.like(outcome, { v: 1, type: 'demo', ok: true })
  const { first, second, dataBytes, killedAtBytes } = outcome
  t.true(first.resumedBytes > 0 && killedAtBytes < first.logicalBytes)
  t.true(first.wireBytes < dataBytes[0] * 0.6, `wire ${first.wireBytes} of ${dataBytes[0]}`)
  t.true(second.wireBytes < first.wireBytes / 5, `wire ${second.wireBytes} after ${first.wireBytes}`)
  t.not(first.root, second.root)
  t.deepEqual(await readdir(process.env.TMPDIR), [])
})

test('demo cleans up when it is interrupted', async (t) => {
  t.timeout(120_000)
  process.env.TMPDIR = await tempDir(t, parent)
  const demo = spawnProgram(['demo', '--json'])
  const ended = once(demo, 'exit')
  const pids: number[] = []
  for await (const line of createInterface(demo.stdout!)) {
    const { step, sender, receiver } = JSON.parse(line) as Line
    if (step === 'start-agents') pids.push(sender, receiver)
    if (step === 'pair') demo.kill('SIGINT')
  }
  t.is((await ended)[0], 130)
  t.is(pids.length, 2)
  for (const pid of pids) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
  t.deepEqual(await readdir(process.env.TMPDIR), [])
})
