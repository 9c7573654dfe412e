/** FLUIDCLOUD_PROFILE=1: both sides say where the time of a job went. */
import { availableParallelism } from 'node:os'
import test from 'ava'
import { FEW_CORES } from '../../transfer/backends/write-turns.ts'
import { startPair } from '../helpers/agent-process.ts'
import { MiB, noise, writeVolume } from '../helpers/volume.ts'

// Of this file's process alone, and so of the agents it starts.
process.env.FLUIDCLOUD_PROFILE = '1'

test('FLUIDCLOUD_PROFILE=1 has each side tell the stages of a job in its log', async (t) => {
  const { alpine, boreal, source } = await startPair(t)
  await writeVolume(source('disk.raw'), 32 * MiB, [{ offset: 0, bytes: noise(16 * MiB, 7) }])
  const { job } = await alpine.tell('move', source('disk.raw'), 'boreal:disk.raw', '--streams', '2')
  await boreal.finish(job)
  const written = availableParallelism() > FEW_CORES ? 'wait-write' : 'write'
  for (const [agent, direction, wanted] of [
    [alpine, 'out', ['cpu', 'read', 'cut', 'digest', 'wait-line']],
    [boreal, 'in', ['cpu', 'verify', written, 'wait-frame']],
  ] as const) {
    const line = (await agent.log()).split('\n').find((text) => text.includes('Where the time went'))
    t.truthy(line, agent.name)
    const told = JSON.parse(line!) as { job: string; direction: string; stages: Record<string, number> }
    t.like(told, { job, direction })
    for (const stage of wanted) t.true(told.stages[stage] >= 0, `${agent.name}: ${stage}`)
  }
})
