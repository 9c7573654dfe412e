/** A service without a named target: a broker tells of two places, and the service goes to the better one that takes it in. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { openLocalCloud } from '../../agent/clouds/local.ts'
import { pairAgents, startAgent, type AgentProcess, type Line } from '../helpers/agent-process.ts'
import { runIn } from '../helpers/command-line.ts'
import { localClouds } from '../helpers/local-service.ts'
import { answers, startRelocationPair } from '../helpers/relocation-pair.ts'
import { tempDir } from '../helpers/temp-dir.ts'

async function offer(agent: AgentProcess, broker: AgentProcess, provider: string, vcpuHour: number) {
  const file = join(agent.folder, 'offer.toml')
  await writeFile(
    file,
    `provider = "${provider}"
place    = { region = "ch-gva-2", jurisdiction = "CH" }
cloud    = { kind = "local", formats = ["raw"] }
capacity = { vcpus = 8, memory = "8GiB", storage = "1TiB", max_volume = "1TiB" }
price    = { currency = "EUR", vcpu_hour = ${vcpuHour} }
`,
  )
  await agent.tell('offers', 'publish', file, '--broker', broker.addr)
}

test('relocate without --to asks a broker, shows why, and goes to the best place that takes it in', async (t) => {
  t.timeout(120_000)
  const pair = await startRelocationPair(t, { more: 'want = { price = 1 }' })
  const { alpine, boreal, service, file, here, there } = pair
  const program = ((await here.machine('web')).extra!.start as string[])[0]
  const machines = await tempDir(t)
  const elsewhere = await openLocalCloud({ machines, programs: [program] })
  t.teardown(async () => {
    for (const name of await elsewhere.machines()) await elsewhere.stop(name, { graceMs: 0 }).catch(() => {})
  })
  const [broker, cedar] = await Promise.all([
    startAgent(t, 'broker', { verb: 'broker' }),
    startAgent(t, 'cedar'),
  ])
  await cedar.stop()
  await cedar.append(localClouds(machines, program))
  await cedar.start()
  await pairAgents(alpine, cedar)
  await offer(boreal, broker, 'Boreal Cloud', 0.02)
  await offer(cedar, broker, 'Cedar Cloud', 0.01)
  await service.record(1)
  const ask = async (...options: string[]): Promise<Line> =>
    alpine.tell('relocate', file, '--broker', broker.addr, ...options)

  // The cheaper one has not let alpine in yet.
  const refused = await ask('--dry-run')
  t.like(refused, { feasible: true, peerName: 'boreal' }, JSON.stringify(refused))
  t.true(
    refused.warnings.some((text: string) => text.startsWith('cedar fits, and says no: ')),
    refused.warnings.join(),
  )
  await cedar.tell('policy', 'set', 'alpine', '--relocate', 'local')
  const plan = await ask('--dry-run')
  t.like(plan, { feasible: true, peerName: 'cedar', match: { fitting: 2, considered: 2 } })
  t.deepEqual(
    plan.match.candidates.map(({ rank, provider }: Line) => `${rank} ${provider}`),
    ['1 Cedar Cloud', '2 Boreal Cloud'],
  )
  const shown = await runIn(alpine.folder, alpine.home, [
    'relocate',
    file,
    '--broker',
    broker.addr,
    '--dry-run',
  ])
  t.regex(shown.stdout, /chosen +Cedar Cloud, number 1 of 2 offers that fit/)

  const result = await ask()
  t.like(result, { state: 'live', peer: plan.peer })
  t.is(await elsewhere.state('web-there'), 'running')
  t.deepEqual(await there.machines(), [])
  t.deepEqual(await answers(service), [1])
  t.false(await service.ranTwice())

  // What nobody offers is said, with what is offered.
  await alpine.tell('rollback', result.job as string)
  await writeFile(file, `need = { jurisdiction = ["DE"] }\n${service.toml}`)
  const { exit, lines } = await alpine.run('relocate', file, '--broker', broker.addr, '--dry-run')
  t.is(exit, 7)
  const none = lines[0] as Line
  t.like(none, { feasible: false, reasons: [{ code: 'NO_MATCH' }], match: { fitting: 0 } })
  t.deepEqual(
    none.match.candidates.map(({ failed }: Line) => failed[0].need),
    ['jurisdiction', 'jurisdiction'],
  )
})
