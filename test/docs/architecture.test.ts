import { readdir, readFile } from 'node:fs/promises'
import test from 'ava'
import * as limits from '../../protocol/limits.ts'

const KiB = 1024
const MiB = 1024 * KiB
const architecture = await read('ARCHITECTURE.md')

async function read(path: string): Promise<string> {
  return readFile(new URL(`../../${path}`, import.meta.url), 'utf8')
}

const FOLDERS = [
  'protocol',
  'transfer',
  'broker',
  'agent',
  'agent/jobs',
  'agent/viaduct',
  'agent/mesh',
  'agent/pairing',
  'agent/brokers',
]

for (const folder of FOLDERS) {
  test(`ARCHITECTURE.md names every file of ${folder}/, and none that is not there`, async (t) => {
    const found = await readdir(new URL(`../../${folder}/`, import.meta.url), { withFileTypes: true })
    const actual = found
      .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
      .filter((name) => !/\.(md|proto)$/.test(name))
    const map = architecture.split(`## ${folder}/`)[1].split(/^##/m)[0]
    const named = [...map.matchAll(/`([\w.-]+(?:\.[jt]s|\/))`/g)].map(([, name]) => name)
    t.deepEqual([...new Set(named)].toSorted(), actual.toSorted())
  })
}

test('ARCHITECTURE.md computes memory in flight from the limits', (t) => {
  const { DEFAULT_LANES: lanes, WINDOWS_PER_LANE: windows, WINDOW_BYTES: window } = limits
  const frameKiB = (limits.MAX_LANE_PAYLOAD_BYTES + limits.MAX_LANE_HEADER_BYTES) / KiB
  const frames = 2 + limits.WRITES_UNDER_WAY
  const scratchMiB = (window + limits.DATA_FRAME_BYTES) / MiB
  for (const sum of [
    `${lanes} × ${windows} × ${window / MiB} MiB = ${(lanes * windows * window) / MiB} MiB`,
    `${lanes} × ${frames} × ${frameKiB} KiB = ${((lanes * frames * frameKiB) / KiB).toFixed(1)} MiB`,
    `${lanes} × ${scratchMiB} MiB = ${lanes * scratchMiB} MiB`,
    `MAX_JOB_WINDOWS (${limits.MAX_JOB_WINDOWS}), which are ${(limits.MAX_JOB_WINDOWS * window) / MiB} MiB`,
    `MAX_LANES_ACCEPTED (${limits.MAX_LANES_ACCEPTED}) lanes count as ${(limits.MAX_LANES_ACCEPTED * limits.INCOMING_LANE_BYTES) / MiB} MiB`,
  ]) {
    t.true(architecture.includes(sum), sum)
  }
})

test('ARCHITECTURE.md gives limits the values they have', (t) => {
  const named = [...architecture.matchAll(/\b([A-Z][A-Z_]+[A-Z]) \((\d+)(?: (KiB|MiB|ms))?\)/g)]
  t.true(named.length > 4)
  for (const [text, name, value, unit] of named) {
    const factor = unit === 'MiB' ? MiB : unit === 'KiB' ? KiB : 1
    t.is((limits as Record<string, unknown>)[name], Number(value) * factor, text)
  }
})

test('ARCHITECTURE.md shows the stages of the pipes in their order', async (t) => {
  const stages = (text: string) =>
    [...text.matchAll(/^ +(?:\(\w+\) => )?(\w+)(?:\.\w+)?\(/gm)].map(([, name]) => name)
  const code = await read('transfer/pipeline.ts')
  const pipes = (text: string) =>
    [...text.matchAll(/pipe\(\n([^]*?)^ *\)\n/gm)].map(([, body]) => stages(body))
  t.is(pipes(code).length, 2)
  t.deepEqual(pipes(architecture), pipes(code))
})
