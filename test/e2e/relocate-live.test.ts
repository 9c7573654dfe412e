/**
 * A real guest that serves and writes all the time leaves one QEMU cloud for another, live. What an outside client was told
 * is kept is there afterwards. Times are printed, not asserted: they are this machine's.
 */
import ava from 'ava'
import { ask, eventuallyAsk, openGuestStage, startClient } from '../helpers/guest-stage.ts'
import { untilState } from '../helpers/relocation-pair.ts'
import { guestMissing } from '../lab/guest.ts'

const skip = guestMissing()
const test = skip === undefined ? ava.serial : ava.serial.skip
const why = skip === undefined ? '' : ` (${skip})`

test(`relocate --live moves a guest under load, and no acknowledged record is lost${why}`, async (t) => {
  t.timeout(600_000)
  const stage = await openGuestStage(t)
  if (!stage) return
  const { alpine, here, there, ports, file } = stage
  // The guest's own load: it writes on by itself.
  await ask(ports[0], 'load?kib=512')
  const client = startClient(ports)
  await client.until(5)
  const job = (await alpine.tell('relocate', file, '--to', 'boreal', '--live', '--detach')).job as string
  const report = await untilState(alpine, job, 'live', 'rolled-back', 'failed')
  t.is(
    report.state,
    'live',
    `${JSON.stringify(report.error)}\n${await alpine.log()}\n${await stage.boreal.log()}`,
  )
  await client.until(client.acknowledged.length + 5)
  const { silentMs } = await client.stop()
  t.is(await here.state('shop'), 'paused')
  t.is(await there.state('shop'), 'running')
  const kept = (await ask(ports[1], 'records')).split('\n').filter(Boolean).map(Number)
  const lost = client.acknowledged.filter((number) => !kept.includes(number))
  t.deepEqual(lost, [], 'Every acknowledged record is there')
  t.log(
    JSON.stringify({
      rounds: report.round,
      acknowledged: client.acknowledged.length,
      clientSilentSeconds: silentMs / 1000,
      downtimeSeconds: report.downtimeSeconds,
      pauseToDataSeconds: report.pauseToDataSeconds,
      startToHealthySeconds: report.startToHealthySeconds,
      timings: report.timings,
      wireBytes: report.wireBytes,
      seconds: report.seconds,
    }),
  )

  // And back, since it was never finalized: the guest here goes on where it stood.
  t.like(await alpine.tell('rollback', job), { state: 'rolled-back', sourceRuns: true })
  t.is(await here.state('shop'), 'running')
  t.deepEqual(await there.machines(), [])
  t.regex(await eventuallyAsk(ports[0], 'records'), /1/)
})
