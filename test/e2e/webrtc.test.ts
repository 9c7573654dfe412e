/** Agents that only UDP connects: they are paired, and move volumes, over WebRTC. */
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import ava, { type ExecutionContext } from 'ava'
import { startAgent, startPair, type AgentPair } from '../helpers/agent-process.ts'
import { MiB, noise, prose, sameBytes } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

/** Two whose meshes listen by UDP alone, and whose data ports nobody reaches. */
async function startUdpPair(t: ExecutionContext): Promise<AgentPair> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  const options = { udp: true, config: `webrtc = true\ndata_host = "127.0.0.1:${port}"` }
  return startPair(t, { alpine: options, boreal: options })
}

test('two that only UDP connects move a volume over WebRTC, and say so', async (t) => {
  const pair = await startUdpPair(t)
  await writeFile(pair.source('disk.raw'), Buffer.concat([noise(20 * MiB, 1), prose(12 * MiB, 2)]))
  const result = await pair.alpine.tell('move', pair.source('disk.raw'), 'boreal:disk.raw')
  t.like(result, { state: 'complete', path: 'webrtc', logicalBytes: 32 * MiB, sentBytes: 32 * MiB })
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  for (const agent of [pair.alpine, pair.boreal]) {
    const receipt = await agent.tell('receipt', result.job)
    t.like(receipt, { path: 'webrtc', signaturesValid: true })
    t.true(receipt.bytesByPath.webrtc > 20 * MiB)
    const { peers } = await agent.tell('status')
    t.is(peers[0].reached, 'webrtc')
  }
})

test('the ends of lanes over WebRTC are no failures', async (t) => {
  const pair = await startUdpPair(t)
  for (let i = 0; i < 5; i++) {
    await writeFile(pair.source(`${i}.raw`), noise(8 * MiB, i))
    const result = await pair.alpine.tell('move', pair.source(`${i}.raw`), `boreal:${i}.raw`)
    t.like(result, { state: 'complete', path: 'webrtc', resumedBytes: 0 })
    t.true(await sameBytes(pair.source(`${i}.raw`), pair.at(`${i}.raw`)))
  }
})

for (const killed of ['alpine', 'boreal'] as const) {
  test(`a job over WebRTC resumes after SIGKILL of the ${killed === 'alpine' ? 'sender' : 'receiver'}`, async (t) => {
    const pair = await startUdpPair(t)
    await writeFile(pair.source('disk.raw'), noise(24 * MiB, 1))
    const job = await pair.alpine.begin(pair.source('disk.raw'), 'boreal:disk.raw', '--bwlimit', '4MiB/s')
    await pair.alpine.until(job, ({ doneBytes }) => doneBytes >= 8 * MiB)
    await pair[killed].kill()
    await pair[killed].start()
    const { path, resumedBytes } = await pair.alpine.finish(job)
    t.is(path, 'webrtc')
    t.true(resumedBytes >= 4 * MiB, `${resumedBytes}`)
    t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  })
}

test('an agent without webrtc does not load it', async (t) => {
  const loaded = async (config: string, udp: boolean) => {
    const { pid } = await startAgent(t, 'alpine', { config, udp })
    return (await readFile(`/proc/${pid}/maps`, 'utf8')).includes('node_datachannel')
  }
  t.false(await loaded('', false))
  t.true(await loaded('webrtc = true', true))
})
