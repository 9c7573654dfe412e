/** Which way the bytes take: whichever side can reach the other dials, and when neither can, lanes ride the mesh. */
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import ava, { type ExecutionContext } from 'ava'
import { startPair, type AgentPairOptions } from '../helpers/agent-process.ts'
import { MiB, noise, prose, sameBytes } from '../helpers/volume.ts'

// Each test has two agents of its own: all at once they would only be in each other's way.
const test = ava.serial

/** Configuration that announces a data port at which nobody listens. */
async function unreachable(): Promise<{ config: string }> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return { config: `data_host = "127.0.0.1:${port}"` }
}

async function moves(t: ExecutionContext, options: AgentPairOptions, path: string): Promise<void> {
  const pair = await startPair(t, options)
  await writeFile(pair.source('disk.raw'), Buffer.concat([noise(20 * MiB, 1), prose(12 * MiB, 2)]))
  const result = await pair.alpine.tell('move', pair.source('disk.raw'), 'boreal:disk.raw')
  t.like(result, { state: 'complete', path, logicalBytes: 32 * MiB, sentBytes: 32 * MiB })
  t.true(result.wireBytes > 20 * MiB && result.wireBytes < 34 * MiB, `wire ${result.wireBytes}`)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
  for (const agent of [pair.alpine, pair.boreal]) {
    t.like(await agent.tell('receipt', result.job), { path, signaturesValid: true })
  }
}

test('the receiver dials when it reaches the sender only', async (t) => {
  await moves(t, { boreal: await unreachable() }, 'tls')
})

test('the sender dials when the receiver does not reach it', async (t) => {
  await moves(t, { alpine: await unreachable() }, 'tls')
})

test('lanes ride the mesh when no data port is reachable either way', async (t) => {
  await moves(t, { alpine: await unreachable(), boreal: await unreachable() }, 'libp2p')
})

test('a job on the mesh resumes after SIGKILL of the receiver', async (t) => {
  const pair = await startPair(t, { alpine: await unreachable(), boreal: await unreachable() })
  await writeFile(pair.source('disk.raw'), noise(32 * MiB, 1))
  const job = await pair.alpine.begin(pair.source('disk.raw'), 'boreal:disk.raw', '--bwlimit', '16MiB/s')
  await pair.alpine.until(job, ({ doneBytes }) => doneBytes >= 8 * MiB)
  await pair.boreal.kill()
  await pair.boreal.start()
  const { path, resumedBytes } = await pair.alpine.finish(job)
  t.is(path, 'libp2p')
  t.true(resumedBytes >= 4 * MiB, `${resumedBytes}`)
  t.true(await sameBytes(pair.source('disk.raw'), pair.at('disk.raw')))
})
