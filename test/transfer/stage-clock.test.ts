import { execFileSync } from 'node:child_process'
import test from 'ava'
import { addStage, endStage, startStage, sumStageTimes, takeStageTimes } from '../../transfer/stage-clock.ts'

test('takeStageTimes() has nothing unless asked to measure', (t) => {
  const began = startStage()
  t.is(began, 0)
  t.is(endStage('read', began), 0)
  addStage('wait-line', 5)
  t.is(takeStageTimes(), undefined)
})

test('takeStageTimes() tells each stage once, with FLUIDCLOUD_PROFILE=1', (t) => {
  const program = `
    const { addStage, takeStageTimes } = await import(${JSON.stringify(new URL('../../transfer/stage-clock.ts', import.meta.url).href)})
    addStage('read', 2)
    addStage('read', 3)
    const [first, second] = [takeStageTimes(), takeStageTimes()]
    console.log(JSON.stringify({ first, second }))`
  const stdout = execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
    env: { ...process.env, FLUIDCLOUD_PROFILE: '1' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const { first, second } = JSON.parse(stdout.toString()) as Record<string, Record<string, number>>
  t.is(first.read, 5)
  t.true(first.cpu > 0)
  t.false('read' in second)
  t.true(second.cpu >= 0 && second.cpu < first.cpu)
})

test('sumStageTimes() adds stage by stage', (t) => {
  t.deepEqual(sumStageTimes({ read: 1, cut: 2 }, { read: 3, cpu: 4 }), { read: 4, cut: 2, cpu: 4 })
})
