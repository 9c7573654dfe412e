/** Peers move volumes that look like images which name other files: nothing here takes them for more than bytes. */
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { BLOCKS_MINOR } from '../../protocol/ids.ts'
import { formatRoot } from '../../protocol/manifest.ts'
import { hasProgram } from '../helpers/programs.ts'
import type { RoguePeer } from '../helpers/rogue-peer.ts'
import { greet, HELLO, moveChunk } from '../helpers/rogue-sender.ts'
import { openVictim, type Victim } from '../helpers/victim.ts'

const MiB = 1024 * 1024
const withQemu = hasProgram('qemu-nbd') && hasProgram('qemu-img') ? test.serial : test.serial.skip

let victim: Victim
test.before(async () => {
  victim = await openVictim()
})
test.after.always(() => victim[Symbol.asyncDispose]())

const secretBeside = (folder: string) => join(dirname(dirname(folder)), 'outside', 'secret.txt')

/** As an image it is another file of the host. */
function descriptorOf(secret: string): Buffer {
  const lines = ['# Disk DescriptorFile', 'version=1', 'CID=fffffffe', 'parentCID=ffffffff']
  return Buffer.from([...lines, 'createType="monolithicFlat"', `RW 2048 FLAT "${secret}" 0\n`].join('\n'))
}

async function verified(rogue: RoguePeer, job: string) {
  const talk = await greet(rogue)
  talk.send({ kind: 'verify-request', job: Buffer.from(job, 'hex'), deep: false })
  return await talk.hear('verify-result')
}

withQemu('a raw volume that begins as a VMDK descriptor is read again as the bytes it is', async (t) => {
  const rogue = await victim.rogue()
  const bytes = descriptorOf(secretBeside(rogue.folder))
  const volume = { destination: 'volume', sizeBytes: bytes.length, allocatedBytes: bytes.length }
  const job = await moveChunk(rogue, victim.dataPort, bytes, volume)
  const { root, error } = await verified(rogue, job)
  t.is(error, undefined)
  t.is((await victim.job(job))?.root, root && formatRoot(root))
})

withQemu('a raw volume that begins as an image is moved on as the bytes it is', async (t) => {
  const rogue = await victim.rogue()
  const destination = 'arrived'
  await moveChunk(rogue, victim.dataPort, descriptorOf(secretBeside(rogue.folder)), { destination })
  const plan = await victim.agent.api.plan({
    source: join(rogue.folder, destination),
    peer: rogue.peerId,
    destination: 'onward',
  })
  t.like(plan, { sourceFormat: 'raw', logicalBytes: MiB })
})

withQemu(
  'a qcow2 whose place another move took is not read again if it names other files, and no path is told',
  async (t) => {
    const rogue = await victim.rogue()
    const destination = 'disk'
    // One that asks for no blocks of the version before.
    const simple = { ...HELLO, minor: BLOCKS_MINOR - 1 }
    const move = (bytes: Uint8Array, targetFormat: string) =>
      moveChunk(rogue, victim.dataPort, bytes, { destination, targetFormat, replace: true }, simple)
    const job = await move(Buffer.from('sound'), 'qcow2')
    t.is((await verified(rogue, job)).error, undefined)
    const image = await victim.file('mine.qcow2', Buffer.alloc(0))
    const secret = secretBeside(rogue.folder)
    execFileSync('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', secret, '-F', 'raw', image, '1M'])
    await move(readFileSync(image).subarray(0, 65_536), 'raw')
    t.like(await verified(rogue, job), { root: undefined, error: { code: 'FORMAT_UNSUPPORTED' } })
    rmSync(join(rogue.folder, destination))
    const { error } = await verified(rogue, job)
    t.is(error?.code, 'VERIFY_MISMATCH')
    t.false(error?.message.includes(rogue.folder))
  },
)
