import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import test from 'ava'
import { connectAgent } from '../../agent/control/client.ts'
import { initHome, type Home } from '../../agent/home.ts'
import { openTempFolder } from '../helpers/command-line.ts'

const MAIN = path.join(import.meta.dirname, '..', '..', 'agent', 'main.ts')
const FLAGS = ['--json', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--data-port', '0']

type Running = ChildProcessByStdio<null, Readable, Readable>

function startAgent(home: Home): Running {
  return spawn(process.execPath, [MAIN, 'agent', '--home', home.path, ...FLAGS], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function firstLine(child: Running): Promise<Record<string, unknown>> {
  for await (const line of createInterface(child.stdout)) return JSON.parse(line) as Record<string, unknown>
  throw new Error(`The agent printed nothing: ${await new Response(child.stderr as never).text()}`)
}

test('agent prints its ready line, refuses a second one and stops cleanly', async (t) => {
  await using folder = await openTempFolder()
  const home = await initHome(path.join(folder.path, 'home'), { name: 'alpha' })
  // What a killed agent leaves behind.
  await writeFile(home.socket, '')
  const child = startAgent(home)
  const exited = once(child, 'exit')
  const ready = await firstLine(child)
  t.deepEqual(Object.keys(ready), ['v', 'type', 'pid', 'peerId', 'addrs', 'dataAddrs', 'socket'])
  t.like(ready, { v: 1, type: 'ready', pid: child.pid, socket: home.socket })
  {
    await using agent = await connectAgent(home)
    t.is((await agent.id()).peerId, ready.peerId as string)
  }
  const second = startAgent(home)
  const secondExited = once(second, 'exit')
  t.like(await firstLine(second), { type: 'error', code: 'STATE_LOCKED', exit: 11 })
  t.deepEqual(await secondExited, [11, null])
  child.kill('SIGTERM')
  t.deepEqual(await exited, [0, null])
  await t.throwsAsync(stat(home.socket), { code: 'ENOENT' })
})
