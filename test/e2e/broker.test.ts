/** Brokers and agents as processes: what is published stays to be found, whoever of them dies, and whoever is hostile. */
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { multiaddr } from '@multiformats/multiaddr'
import test, { type ExecutionContext } from 'ava'
import { connectAgent } from '../../agent/control/client.ts'
import type { StatusReport } from '../../agent/reports/agent-reports.ts'
import { openCatalogClient, type CatalogClient } from '../../broker/catalog-client.ts'
import type { SignedOffer } from '../../protocol/catalog-message.ts'
import { frameControl } from '../../protocol/frame-reader.ts'
import { CATALOG_PROTOCOL } from '../../protocol/ids.ts'
import { type AgentProcess, type Line, startAgent } from '../helpers/agent-process.ts'
import { startNode } from '../helpers/broker-node.ts'
import { eventually } from '../helpers/eventually.ts'
import { createProvider } from '../helpers/providers.ts'

const OFFER = `
provider = "Alpine Cloud"
place    = { region = "ch-gva-2", jurisdiction = "CH" }
cloud    = { kind = "qemu", formats = ["raw", "qcow2"], features = ["live"], certifications = ["iso27001"] }
capacity = { vcpus = 64, memory = "256GiB", storage = "20TiB", max_volume = "16TiB" }
price    = { currency = "EUR", vcpu_hour = 0.02, storage_gib_month = 0.05 }
lease    = "1h"
`
const REQUEST = `
need = { vcpus = 2, memory = "4GiB", storage = "20GiB", formats = ["qcow2"], features = ["live"], jurisdiction = ["CH", "EU"], certifications = ["iso27001"], relay = false }
want = { price = 3, egress = 1, move_time = 2, rtt = 1 }
have = { allocated = "6GiB", egress_gib = 0.09 }
`

async function status(process: AgentProcess): Promise<StatusReport> {
  await using client = await connectAgent(process.home)
  return await client.status()
}

async function startBroker(t: ExecutionContext, name: string, contact?: AgentProcess): Promise<AgentProcess> {
  const config = contact && `bootstrap = ["${contact.addr}"]`
  return startAgent(t, name, { verb: 'broker', config })
}

/** An agent that knows `brokers`. */
async function startClient(
  t: ExecutionContext,
  name: string,
  ...brokers: AgentProcess[]
): Promise<AgentProcess> {
  const agent = await startAgent(t, name, {
    config: `brokers = ${JSON.stringify(brokers.map(({ addr }) => addr))}`,
  })
  await writeFile(join(agent.folder, 'offer.toml'), OFFER)
  await writeFile(join(agent.folder, 'request.toml'), REQUEST)
  return agent
}

const held = (broker: AgentProcess, count: number): Promise<unknown> =>
  eventually(async () => (await status(broker)).broker?.offers === count || undefined)

test('an offer published at one broker is found at another, whichever two of three are killed, and leases survive', async (t) => {
  const first = await startBroker(t, 'first')
  const [second, third] = await Promise.all([startBroker(t, 'second', first), startBroker(t, 'third', first)])
  const brokers = [first, second, third]
  const [alpine, boreal] = await Promise.all([startClient(t, 'alpine', first), startClient(t, 'boreal')])
  const { offer, expiresAt } = await alpine.tell('offers', 'publish', 'offer.toml')
  for (const broker of brokers) await held(broker, 1)
  // It would renew the offer.
  await alpine.kill()

  const matched = await boreal.run('match', 'request.toml', '--broker', third.addr)
  t.is(matched.exit, 0)
  t.like(matched.lines[0], { type: 'match', rank: 1, offer, provider: 'Alpine Cloud', failed: [] })

  await Promise.all([first.kill(), second.kill()])
  t.like(await boreal.tell('offers', 'list', '--broker', third.addr), { offer, expiresAt })
  await Promise.all([first.start(), second.start()])
  await third.kill()
  for (const broker of [first, second])
    t.like(await boreal.tell('offers', 'list', '--broker', broker.addr), { offer, expiresAt })

  const asked = await boreal.run('match', 'request.toml', '--broker', third.addr, '--broker', second.addr)
  t.is(asked.exit, 0, 'one that is away does not keep the other from answering')
  t.is((await boreal.run('match', 'request.toml', '--broker', third.addr)).exit, 5)
})

test('an agent goes on with its offers after a restart: renewed, changed by the same file, withdrawn for good', async (t) => {
  const broker = await startBroker(t, 'broker')
  const alpine = await startClient(t, 'alpine', broker)
  const { offer, expiresAt } = await alpine.tell('offers', 'publish', 'offer.toml')
  await alpine.kill()
  await alpine.start()
  await eventually(async () => {
    const { lines } = await alpine.run('offers', 'list')
    return (lines[0]?.expiresAt as string) > expiresAt || undefined
  })
  await writeFile(join(alpine.folder, 'offer.toml'), OFFER.replace('Alpine', 'Alpine New'))
  t.like(await alpine.tell('offers', 'publish', 'offer.toml'), { offer, provider: 'Alpine New Cloud' })
  t.like((await alpine.run('offers', 'list')).lines, [{ offer, provider: 'Alpine New Cloud' }])

  await broker.kill()
  const { exit } = await alpine.run('offers', 'withdraw', offer.slice(0, 8))
  t.is(exit, 3, 'taken back here, but nobody knows')
  await alpine.kill()
  await alpine.start()
  await broker.start()
  await held(broker, 0)
  await eventually(async () => (await alpine.run('offers', 'list', '--own')).lines.length === 0 || undefined)
  t.is((await alpine.run('match', 'request.toml')).exit, 7)
})

test('agents that were told one address find every broker, and each other by peer ID', async (t) => {
  const first = await startBroker(t, 'first')
  await Promise.all([startBroker(t, 'second', first), startBroker(t, 'third', first)])
  const told = { config: `bootstrap = ["${first.addr}"]` }
  const [alpine, boreal] = await Promise.all([startAgent(t, 'alpine', told), startAgent(t, 'boreal', told)])
  await writeFile(join(alpine.folder, 'offer.toml'), OFFER)
  await writeFile(join(boreal.folder, 'request.toml'), REQUEST)
  await eventually(async () => ((await status(first)).broker!.neighbours.length === 2 ? true : undefined))
  await eventually(async () => {
    const { exit } = await alpine.run('offers', 'publish', 'offer.toml')
    return exit === 0 || undefined
  })
  const { peer } = await boreal.tell('match', 'request.toml')
  t.is(peer, (await status(alpine)).peerId)
  await using client = await connectAgent(boreal.home)
  t.true((await client.find({ peer })).addrs.length > 0)
  await first.kill()
  const matched = await eventually(async () => {
    const { exit, lines } = await boreal.run('match', 'request.toml')
    return exit === 0 ? lines : undefined
  })
  t.like(matched[0], { rank: 1, peer })
})

test('match tells which Migrators lead to a candidate that fails by its formats alone, or why none do', async (t) => {
  const broker = await startBroker(t, 'broker')
  const [alpine, boreal] = await Promise.all([
    startClient(t, 'alpine', broker),
    startClient(t, 'boreal', broker),
  ])
  const rawOnly = OFFER.replace('["raw", "qcow2"]', '["raw"]')
  await writeFile(join(alpine.folder, 'offer.toml'), `${rawOnly}migrators = []\n`)
  await alpine.tell('offers', 'publish', 'offer.toml')
  const none = await boreal.run('match', 'request.toml')
  t.is(none.exit, 7)
  t.like(none.lines[0], { rank: null, failed: [{ need: 'formats' }], chain: { steps: [] } })
  t.truthy((none.lines[0].chain as Line).reason)
  const migrators = `
[[migrators]]
name = "convert"
version = "1.0.0"
accepts = ["disk/vmdk", "disk/qcow2"]
produces = ["disk/raw"]
`
  await writeFile(
    join(boreal.folder, 'offer.toml'),
    rawOnly.replace('Alpine', 'Boreal').replace('"CH"', '"US"') + migrators,
  )
  await boreal.tell('offers', 'publish', 'offer.toml')
  const { lines } = await boreal.run('match', 'request.toml')
  const found = lines.find(({ provider }) => provider === 'Alpine Cloud') as Line
  t.like(found.chain.steps[0], {
    from: 'disk/qcow2',
    to: 'disk/raw',
    migrator: 'convert',
    provider: 'Boreal Cloud',
  })
})

test('match --watch tells of a better offer when it appears', async (t) => {
  const broker = await startBroker(t, 'broker')
  const [alpine, boreal] = await Promise.all([
    startClient(t, 'alpine', broker),
    startClient(t, 'boreal', broker),
  ])
  await alpine.tell('offers', 'publish', 'offer.toml')
  await using watcher = await connectAgent(alpine.home)
  const stop = new AbortController()
  const watching = watcher
    .matchWatch({ text: REQUEST, brokers: [] }, { signal: stop.signal })
    [Symbol.asyncIterator]()
  t.is((await watching.next()).value?.candidates[0].provider, 'Alpine Cloud')
  await writeFile(
    join(boreal.folder, 'offer.toml'),
    OFFER.replace('Alpine', 'Boreal').replace('vcpu_hour = 0.02', 'vcpu_hour = 0.001'),
  )
  await boreal.tell('offers', 'publish', 'offer.toml')
  const { value } = await watching.next()
  t.like(value, { better: true })
  t.like(value?.candidates[0], { provider: 'Boreal Cloud', rank: 1 })
  stop.abort()
})

test('a hostile publisher is refused with counted reasons, and others are served meanwhile', async (t) => {
  const broker = await startBroker(t, 'broker')
  const alpine = await startClient(t, 'alpine', broker)
  const { offer } = await alpine.tell('offers', 'publish', 'offer.toml')
  const rogue = await startNode(t)
  const connection = await rogue.dial(multiaddr(broker.addr))
  const open = async (): Promise<CatalogClient> =>
    openCatalogClient(await connection.newStream(CATALOG_PROTOCOL))

  const provider = await createProvider()
  const original = provider.offer({ sequence: 9 })
  const bad: SignedOffer[] = [
    await provider.sign(original),
    await provider.sign({ ...original, sequence: 8 }),
    { ...(await provider.publish()), signature: randomBytes(64) },
    { body: new Uint8Array(100_000), signature: new Uint8Array(64) },
    await provider.publish({ issuedAtMs: Date.now() + 3_600_000 }),
    await provider.publish({ issuedAtMs: Date.now() - 2, expiresAtMs: Date.now() - 1 }),
    await provider.publish({ expiresAtMs: Date.now() + 40 * 86_400_000 }),
  ]
  await using client = await open()
  const outcomes = (await client.publish(bad)).map(({ outcome }) => outcome)
  t.deepEqual(outcomes, ['kept', 'replayed', 'forged', 'oversized', 'early', 'expired', 'lease'])
  for (let sent = 0; sent < 4; sent++) {
    const stream = await connection.newStream(CATALOG_PROTOCOL)
    const ended = new Promise((resolve) => stream.addEventListener('close', resolve))
    stream.send(frameControl(new Uint8Array(2 ** 20)))
    await ended
  }

  // As fast as the line takes it, until it is cut off and comes again.
  let flooding = true
  const many = Array.from({ length: 256 }, () => ({ body: randomBytes(200), signature: new Uint8Array(64) }))
  const flood = (async () => {
    while (flooding) {
      try {
        await using flooder = await open()
        while (flooding) await flooder.publish(many)
      } catch {
        // Cut off.
      }
    }
  })()
  const times: number[] = []
  for (let asked = 0; asked < 10; asked++) {
    const begun = performance.now()
    const { exit, lines } = await alpine.run('match', 'request.toml')
    times.push(performance.now() - begun)
    t.is(exit, 0)
    t.is(lines.filter((line) => line.offer === offer).length, 1)
  }
  await eventually(async () => (await status(broker)).broker!.refused.hasty > 10_000 || undefined)
  flooding = false
  await flood
  const { broker: report, rssBytes } = await status(broker)
  t.log(
    `match while flooded: ${times.map((ms) => ms.toFixed(0)).join(', ')} ms; ${JSON.stringify(report!.refused)}; ${(rssBytes / 2 ** 20).toFixed(0)} MiB`,
  )
  t.like(report!.refused, { replayed: 1, forged: 1, oversized: 5, early: 1, expired: 1, lease: 1 })
  t.true(rssBytes < 400 * 2 ** 20)
  t.is(report!.offers, 2)
})
