import { readFile } from 'node:fs/promises'
import test from 'ava'
import { parse } from 'smol-toml'
import { parseConfig, sampleConfig } from '../../agent/config.ts'

const sample = await readFile(new URL('../../deploy/config.toml', import.meta.url), 'utf8')

/** The file with every commented key put into force. */
const uncommented = (text: string): string => text.replace(/^# (\w+ = )/gm, '$1')

/** The example of [clouds] that a file shows. */
const cloudsOf = (text: string): string => text.slice(text.indexOf('#   [clouds')).replace(/^# {3}/gm, '')

/** Full names of all keys, sections included. */
function keys(table: object, prefix = ''): string[] {
  return Object.entries(table).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? keys(value, `${prefix}${key}.`)
      : [`${prefix}${key}`],
  )
}

test('config.toml is accepted as it is', (t) => {
  t.is(parseConfig(sample).name, 'my-cloud')
})

test('config.toml shows as default what the agent takes without it', (t) => {
  const { name: _, dataHost, limits, ...rest } = parseConfig(uncommented(sample))
  const { name: __, dataHost: noHost, limits: defaultLimits, ...defaults } = parseConfig('')
  t.deepEqual(rest, defaults)
  t.is(limits.jobs, defaultLimits.jobs)
  t.is(limits.lanes, defaultLimits.lanes)
  // These three have no default that could be written down; the file shows an example.
  t.deepEqual([noHost, defaultLimits.bandwidth], [undefined, undefined])
  t.deepEqual([dataHost, limits.bandwidth], ['203.0.113.7', 125_000_000])
})

test('config.toml explains every key that init writes, and no other', (t) => {
  const known = keys(parse(uncommented(sampleConfig('any'))))
  t.deepEqual(keys(parse(uncommented(sample))).toSorted(), known.toSorted())
})

test('config.toml shows clouds as the agent takes them', (t) => {
  const shown = cloudsOf(sample).replace(/^bridges = \[\]$/m, 'bridges = ["br0"]')
  const { clouds } = parseConfig(shown)
  t.deepEqual(Object.keys(clouds), ['qemu', 'libvirt', 'local'])
  t.deepEqual(clouds.qemu?.bridges, ['br0'])
  const written = parseConfig(cloudsOf(sampleConfig('any'))).clouds
  t.deepEqual(written, { ...clouds, qemu: { ...clouds.qemu, bridges: [] } } as typeof clouds)
})
