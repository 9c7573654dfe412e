import test from 'ava'
import { failing, fakeMachine } from '../helpers/fake-agent.ts'
import { openFakeSite } from '../helpers/command-line.ts'

test('machines lists them, one line each with --json', async (t) => {
  await using at = await openFakeSite()
  t.like(await at.run(['machines', '--json']), {
    exit: 0,
    lines: [{ v: 1, type: 'machine', ...fakeMachine }],
  })
  const { stdout } = await at.run(['machines', 'list'])
  t.regex(
    stdout,
    /^MACHINE +STATE +CLOUD +CPUS +MEMORY +DISKS\nweb +running +qemu +2 +4.00 GiB +1 disk, 20.0 GiB\n$/,
  )
})

test('machines start and stop pass on what was said', async (t) => {
  await using at = await openFakeSite()
  t.is((await at.run(['machines', 'start', 'web', '--cloud', 'qemu'])).stdout, '✔ web is running (qemu)\n')
  await at.run(['machines', 'stop', 'web'])
  await at.run(['machines', 'stop', 'web', '--grace', '1m'])
  t.deepEqual(at.calls, [
    ['machineStart', { name: 'web', cloud: 'qemu' }],
    ['machineStop', { name: 'web', graceMs: 30_000 }],
    ['machineStop', { name: 'web', graceMs: 60_000 }],
  ])
})

test('machines start says why a relocated machine is not started', async (t) => {
  await using at = await openFakeSite({ machineStart: failing('JOB_STATE', 'web may run at beta') })
  const { exit, lines } = await at.run(['machines', 'start', 'web', '--json'])
  t.is(exit, 2)
  t.like(lines[0], { type: 'error', code: 'JOB_STATE' })
})
