/** An agent behind a home router that has its ports forwarded, and a peer outside that dials them. */
import { once } from 'node:events'
import ava from 'ava'
import { connectAgent } from '../../agent/control/client.ts'
import { eventually } from '../helpers/eventually.ts'
import { homeRouter, noHomeRouter, ROUTER } from '../helpers/home-router.ts'

const reason = noHomeRouter()
const test = reason ? ava.skip : ava.serial
const title = (what: string) => (reason ? `${what} (${reason})` : what)

for (const [by, speaks] of [
  ['NAT-PMP', { natPmp: true, upnp: false }],
  ['UPnP', { natPmp: false, upnp: true }],
] as const) {
  test(
    title(`an agent behind a router that speaks ${by} is reached at the router, until it stops`),
    async (t) => {
      const router = await homeRouter(t, speaks)
      const [outside, inside] = await Promise.all([
        router.agent('outside', ''),
        router.agent('inside', 'port_mapping = true'),
      ])
      await using there = await connectAgent(outside.home)
      await using here = await connectAgent(inside.home)
      const mapped = await eventually(async () => {
        const { portMapping } = await here.status()
        return portMapping?.state === 'mapped' ? portMapping : undefined
      })
      t.deepEqual(mapped, { state: 'mapped', by, host: ROUTER, ports: { mesh: 4001, data: 4002 } })
      t.deepEqual(router.mappings(), [4001, 4002])
      const { ticket } = await there.pairTicket({ expiresMs: 600_000, uses: 1, approve: 'auto' })
      await here.pairRedeem({ ticket, name: 'outside' })
      const { reachable, addrs, dataAddrs } = await eventually(async () => {
        const status = await here.status()
        return status.reachable?.data.state === 'unknown' ? undefined : status
      })
      t.deepEqual(reachable, {
        mesh: { state: 'yes', asked: 1, at: `${ROUTER}:4001` },
        data: { state: 'yes', asked: 1, at: `${ROUTER}:4002` },
      })
      t.true(addrs.some((addr) => addr.startsWith(`/ip4/${ROUTER}/tcp/4001/`)))
      t.true(dataAddrs.includes(`${ROUTER}:4002`))
      const checks = await here.doctor()
      t.is(checks.find(({ name }) => name === 'router')?.state, 'ok')
      t.is(checks.find(({ name }) => name === 'reachable')?.state, 'ok')
      const ended = once(inside.process, 'exit')
      await here.stop()
      await ended
      t.deepEqual(router.mappings(), [])
    },
  )
}
