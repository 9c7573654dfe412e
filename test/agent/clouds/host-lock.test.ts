import { spawn } from 'node:child_process'
import { once } from 'node:events'
import test from 'ava'
import { withHostLock } from '../../../agent/clouds/host-lock.ts'

const onLinux = process.platform === 'linux' ? test : test.skip
const patient = { patienceMs: 60_000 }

onLinux('withHostLock() lets one in at a time', async (t) => {
  const key = `a-${process.pid}`
  let inside = 0
  const enter = async () => {
    t.is(++inside, 1)
    await new Promise((resolve) => setImmediate(resolve))
    inside--
  }
  await Promise.all([1, 2, 3].map(() => withHostLock(key, patient, enter)))
})

onLinux('withHostLock() is free after the death of its holder, and does not wait for ever', async (t) => {
  const key = `b-${process.pid}`
  const module = new URL('../../../agent/clouds/host-lock.ts', import.meta.url).href
  const script = `const { withHostLock } = await import('${module}'); await withHostLock('${key}', { patienceMs: 0 }, async () => { console.log('in'); await new Promise(() => setInterval(() => {}, 1e9)) })`
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  t.is(await withHostLock(key, { patienceMs: 20 }, async () => 'anyway'), 'anyway')
  const waiting = withHostLock(key, patient, async () => 'after')
  holder.kill('SIGKILL')
  t.is(await waiting, 'after')
})
