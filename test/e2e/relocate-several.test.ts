/** A service of three machines, where one needs another: data first, the service last, and back together. */
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Line } from '../helpers/agent-process.ts'
import { eventually } from '../helpers/eventually.ts'
import { freePort } from '../helpers/free-port.ts'
import { pairWithClouds } from '../helpers/relocation-pair.ts'
import { sameBytes } from '../helpers/volume.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const MACHINES = ['web', 'db', 'cache'] as const
const DISK_BYTES = 1 << 20

/** Notes when it was started, by the kernel's clock, and when it was told to end. Argument: where `web` answers. */
const PROGRAM = `#!${process.execPath}
const { appendFileSync, existsSync, readFileSync } = require('node:fs')
const [folder, port] = process.argv.slice(2)
const name = process.env.FLUIDCLOUD_MACHINE
const at = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ')[19]
const note = (what) => appendFileSync(folder + '/log', what + ' ' + name + ' ' + at + '\\n')
process.on('SIGTERM', () => (note('stop'), process.exit()))
note('start')
if (name === 'web-there')
  require('node:http')
    .createServer((_, answer) => answer.writeHead(existsSync(folder + '/sick') ? 500 : 200).end())
    .listen(Number(port), '127.0.0.1')
else setInterval(() => {}, 1000)
`

test('relocate moves several machines in their order, and back when one of them is not healthy', async (t) => {
  t.timeout(120_000)
  const { alpine, file, here, there, sicken, heal, notes, disks } = await openStage(t)
  const plan = await alpine.tell('relocate', file, '--to', 'boreal', '--dry-run')
  t.like(plan, { feasible: true }, JSON.stringify(plan.reasons))
  const after = new Map<string, string[]>(plan.tasks.map((task: Line) => [task.id, task.after]))
  for (const name of MACHINES)
    t.deepEqual(after.get(`finish ${name}/vda`)?.toSorted(), ['halt cache', 'halt db', 'halt web'])
  t.deepEqual(after.get('start web'), ['hand over', 'start db'])
  t.deepEqual(after.get('start cache'), ['hand over'], 'what is independent waits for nobody')

  // Not healthy there: all three are here again.
  await sicken()
  const failed = await alpine.run('relocate', file, '--to', 'boreal')
  t.is(failed.exit, 1)
  t.like(failed.lines.at(-1), { type: 'error', code: 'HEALTH_FAILED' })
  t.like(failed.lines.at(-2), { state: 'rolled-back', sourceRuns: true })
  for (const name of MACHINES) t.is(await here.state(name), 'running', name)
  t.deepEqual(await there.machines(), [])
  const back = await notes((all) => MACHINES.every((name) => startsOf(all, name).length === 2))
  t.deepEqual(
    back.filter(({ what, name }) => what === 'stop' && ['web', 'db'].includes(name)).map(({ name }) => name),
    ['web', 'db'],
    'what needs another is stopped before it',
  )
  t.true(startsOf(back, 'db')[1] <= startsOf(back, 'web')[1], 'and started after it')

  await heal()
  const before = (await notes()).length
  const result = await alpine.tell('relocate', file, '--to', 'boreal')
  t.like(result, { state: 'live', sourceRuns: false })
  t.is(result.roots.length, 3)
  for (const name of MACHINES) {
    t.is(await here.state(name), 'stopped', name)
    t.is(await there.state(`${name}-there`), 'running', name)
    t.true(await sameBytes(disks[name], (await there.machine(`${name}-there`)).disks[0].path), name)
  }
  const since = (
    await notes((all) => MACHINES.every((name) => startsOf(all.slice(before), `${name}-there`).length === 1))
  ).slice(before)
  t.true(startsOf(since, 'db-there')[0] <= startsOf(since, 'web-there')[0], 'there too')
  t.like(await alpine.tell('finalize', result.job as string), { state: 'finalized' })
  t.deepEqual(await here.machines(), [])
})

interface Note {
  readonly what: string
  readonly name: string
  /** When the process was started, in ticks of the kernel. */
  readonly at: number
}

function startsOf(notes: readonly Note[], machine: string): number[] {
  return notes.filter(({ what, name }) => what === 'start' && name === machine).map(({ at }) => at)
}

async function openStage(t: ExecutionContext) {
  const base = await tempDir(t)
  const program = join(base, 'service')
  await writeFile(program, PROGRAM)
  await chmod(program, 0o755)
  const port = await freePort()
  const folders = [join(base, 'here'), join(base, 'there')]
  const disks: Record<string, string> = {}
  await mkdir(folders[0])
  for (const [at, name] of MACHINES.entries()) {
    disks[name] = join(folders[0], `${name}.raw`)
    await writeFile(disks[name], Buffer.alloc(DISK_BYTES, 65 + at))
    await writeFile(
      join(folders[0], `${name}.toml`),
      `vcpus = 1
memory = "64MiB"
firmware = "bios"
chipset = "q35"
extra = { start = [${JSON.stringify(program)}, ${JSON.stringify(base)}, "${port}"] }
[[disks]]
id = "vda"
path = ${JSON.stringify(disks[name])}
format = "raw"
boot = true
bus = "virtio"
`,
    )
  }
  const { pair, here, there } = await pairWithClouds(t, folders, program)
  const file = join(base, 'service.toml')
  const write = (gate: string) =>
    writeFile(
      file,
      `name = "shop"
cutover = { gate = "${gate}", stop_grace = "30s" }
${MACHINES.map((name) => `[[machine]]\nname = "${name}"\n${name === 'web' ? 'needs = ["db"]\n' : ''}target = { name = "${name}-there" }\n`).join('')}
[[health]]
http = "http://127.0.0.1:${port}/"
status = 200
`,
    )
  const notes = async (wanted: (all: Note[]) => boolean = () => true): Promise<Note[]> =>
    eventually(async () => {
      const lines = (await readFile(join(base, 'log'), 'utf8').catch(() => '')).split('\n').filter(Boolean)
      const all = lines
        .map((line) => line.split(' '))
        .map(([what, name, at]) => ({ what, name, at: Number(at) }))
      return wanted(all) ? all : undefined
    })
  await write('1m')
  for (const name of ['db', 'cache', 'web']) await here.start(name)
  await notes((all) => all.length === 3)
  return {
    ...pair,
    file,
    here,
    there,
    disks,
    notes,
    async sicken() {
      await writeFile(join(base, 'sick'), '')
      await write('3s')
    },
    async heal() {
      await rm(join(base, 'sick'))
      await write('1m')
    },
  }
}
