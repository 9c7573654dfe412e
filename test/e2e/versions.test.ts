/** Agents of different versions: minors of one major work together, whatever fields the newer one adds. */
import { writeFile } from 'node:fs/promises'
import ava from 'ava'
import { startPair } from '../helpers/agent-process.ts'
import { makeNewerProgram } from '../helpers/newer-program.ts'
import { MiB, noise, sameBytes } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

for (const newer of ['alpine', 'boreal'] as const) {
  test(`an agent of the next minor version ${newer === 'alpine' ? 'sends to' : 'receives from'} this one`, async (t) => {
    const pair = await startPair(t, { [newer]: { program: await makeNewerProgram(t) } })
    await writeFile(pair.source('disk.raw'), noise(24 * MiB, 1))
    t.like(await pair.alpine.tell('plan', pair.source('disk.raw'), 'boreal:disk.raw'), { feasible: true })
    const job = await pair.alpine.begin(pair.source('disk.raw'), 'boreal:disk.raw', '--bwlimit', '16MiB/s')
    await pair.alpine.until(job, ({ state }) => state === 'running')
    await pair.boreal.tell('pause', job)
    await pair.alpine.until(job, ({ state }) => state === 'paused')
    await pair.boreal.tell('resume', job)
    await pair.alpine.finish(job)
    t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
    for (const agent of [pair.alpine, pair.boreal]) {
      await agent.finish(job)
      t.like(await agent.tell('receipt', job), { signaturesValid: true })
      t.like(await agent.tell('verify', job), { match: true })
    }
  })
}

test('an agent of another major version is refused with what to do', async (t) => {
  const pair = await startPair(t, { boreal: { program: await makeNewerProgram(t, { major: true }) } })
  await writeFile(pair.source('disk.raw'), noise(MiB, 1))
  const { exit, lines } = await pair.alpine.run('plan', pair.source('disk.raw'), 'boreal:disk.raw')
  t.is(exit, 7)
  t.like(lines.at(-1), { type: 'error', code: 'VERSION_UNSUPPORTED', exit: 7 })
})
