import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type Implementation } from 'ava'

const run = promisify(execFile)
const checkout = join(import.meta.dirname, '..', '..')
const unit = join(checkout, 'deploy', 'systemd', 'fluidcloud-agent.service')
const text = await readFile(unit, 'utf8')

/** Highest exposure accepted, in tenths: the network, V8's JIT and the device node of the clock are what is left. */
const MAX_EXPOSURE_TENTHS = 13

const available = spawnSync('systemd-analyze', ['--version']).status === 0
const withSystemd = (title: string, body: Implementation<[]>): void =>
  available ? test(title, body) : test.skip(`${title} (systemd-analyze is not installed)`, body)

async function exposure(path: string): Promise<{ code: number; output: string }> {
  const args = ['security', '--offline=true', '--no-pager', `--threshold=${MAX_EXPOSURE_TENTHS}`, path]
  return run('systemd-analyze', args).then(
    ({ stdout }) => ({ code: 0, output: stdout }),
    (error: { code: number; stdout: string }) => ({ code: error.code, output: error.stdout }),
  )
}

withSystemd('fluidcloud-agent.service stays within its exposure', async (t) => {
  const { code, output } = await exposure(unit)
  t.is(code, 0, output)
})

withSystemd('fluidcloud-agent.service without its system call filter exceeds its exposure', async (t) => {
  const scratch = await mkdtemp(join(tmpdir(), 'fluidcloud-unit-'))
  t.teardown(() => rm(scratch, { recursive: true }))
  const looser = join(scratch, 'fluidcloud-agent.service')
  await writeFile(looser, text.replace(/^SystemCallFilter=.*$/gm, ''))
  t.not((await exposure(looser)).code, 0)
})

withSystemd('fluidcloud-agent.service is verified by systemd', async (t) => {
  const scratch = await mkdtemp(join(tmpdir(), 'fluidcloud-unit-'))
  t.teardown(() => rm(scratch, { recursive: true }))
  const here = join(scratch, 'fluidcloud-agent.service')
  await writeFile(here, text.replaceAll('/opt/fluidcloud', checkout))
  const { stdout, stderr } = await run('systemd-analyze', [
    'verify',
    '--man=no',
    '--recursive-errors=no',
    here,
  ])
  t.is(stdout + stderr, '')
})

for (const name of ['block-devices.conf', 'machines.conf']) {
  withSystemd(`fluidcloud-agent.service is verified by systemd with ${name}`, async (t) => {
    const scratch = await mkdtemp(join(tmpdir(), 'fluidcloud-unit-'))
    t.teardown(() => rm(scratch, { recursive: true }))
    const here = join(scratch, 'fluidcloud-agent.service')
    const dropin = await readFile(join(checkout, 'deploy', 'systemd', name), 'utf8')
    await writeFile(here, `${text.replaceAll('/opt/fluidcloud', checkout)}\n${dropin}`)
    const args = ['verify', '--man=no', '--recursive-errors=no', here]
    const { stdout, stderr } = await run('systemd-analyze', args)
    t.is(stdout + stderr, '')
  })
}

test('machines.conf ends the agent alone: machines and guards live on', async (t) => {
  const dropin = await readFile(join(checkout, 'deploy', 'systemd', 'machines.conf'), 'utf8')
  t.regex(dropin, /^KillMode=process$/m)
})

test('fluidcloud-agent.service starts the launcher as its own user with its state folder', (t) => {
  t.regex(text, /^ExecStart=\/opt\/fluidcloud\/bin\/fluidcloud agent$/m)
  t.regex(text, /^User=fluidcloud$/m)
  t.regex(text, /^StateDirectory=fluidcloud$/m)
  t.regex(text, /^Environment=FLUIDCLOUD_HOME=\/var\/lib\/fluidcloud$/m)
})
