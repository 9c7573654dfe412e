/** A sender that keeps a lane open when it has said that it is done: nothing is written after the roots were compared. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { entriesOf, rootOf } from '../helpers/rogue-lane.ts'
import { openJob } from '../helpers/rogue-sender.ts'
import { openVictim } from '../helpers/victim.ts'

test('a lane that does not end is ended before the volume gets its name, and no other is taken', async (t) => {
  await using victim = await openVictim()
  const rogue = await victim.rogue()
  const job = await openJob(rogue, victim.dataPort)
  const { sizeBytes, chunking, destination } = job.agreement
  const bytes = randomBytes(100_000)
  const entries = entriesOf([{ offset: 0, bytes }])
  using lane = await job.lane()
  lane.have(1, 0, sizeBytes, entries)
  await lane.hear('want')
  lane.data(1, 0, 1, bytes)
  await job.talk.hear('checkpoint')
  job.complete(rootOf(sizeBytes, chunking, entries))
  await job.talk.hear('receipt')
  const other = entriesOf([{ offset: 0, bytes: randomBytes(50_000) }])
  lane.have(2, 0, sizeBytes, other)
  await t.throwsAsync(lane.hear('want'), { message: /closed/ })
  using late = await job.lane(1)
  late.have(1, 0, sizeBytes, other)
  await t.throwsAsync(late.hear('want'), { message: /closed/ })
  const whole = await readFile(join(rogue.folder, destination))
  t.true(whole.equals(Buffer.concat([bytes, Buffer.alloc(sizeBytes - bytes.length)])))
})
