import test from 'ava'
import fc from 'fast-check'
import {
  formatBytes,
  formatDuration,
  formatRate,
  parseDuration,
  parseRate,
  parseSize,
} from '../../agent/units.ts'
import { FluidError } from '../../protocol/errors.ts'

const parses = test.macro({
  exec: (t, parse: (text: string) => number, text: string, value: number) => t.is(parse(text), value),
  title: (_, parse: (text: string) => number, text: string, value: number) =>
    `${parse.name}() reads ${text} as ${value}`,
})
const refuses = test.macro({
  exec: (t, parse: (text: string) => number, text: string) => {
    const error = t.throws(() => parse(text), { instanceOf: FluidError })
    t.is(error?.code, 'USAGE')
    t.true(error?.message.includes(text))
  },
  title: (_, parse: (text: string) => number, text: string) => `${parse.name}() refuses '${text}'`,
})

test(parses, parseSize, '0', 0)
test(parses, parseSize, '4096', 4096)
test(parses, parseSize, '512B', 512)
test(parses, parseSize, '10GiB', 10 * 2 ** 30)
test(parses, parseSize, '10G', 10 * 2 ** 30)
test(parses, parseSize, '64k', 65_536)
test(parses, parseSize, '500MB', 500_000_000)
test(parses, parseSize, '1.5 TiB', 1.5 * 2 ** 40)
for (const text of ['', 'GiB', '-1', '10Gb', '10 gibs', '1e3', '10GiB/s', '9999999PiB', '1,5G'])
  test(refuses, parseSize, text)

test(parses, parseRate, '1Gbit/s', 125_000_000)
test(parses, parseRate, '800Mbps', 100_000_000)
test(parses, parseRate, '1Mibit/s', 131_072)
test(parses, parseRate, '100MiB/s', 100 * 2 ** 20)
test(parses, parseRate, '50M', 50 * 2 ** 20)
for (const text of ['', '0', 'fast', '10Gb', '1bit/s/s', '3bit/s']) test(refuses, parseRate, text)

test(parses, parseDuration, '250ms', 250)
test(parses, parseDuration, '90s', 90_000)
test(parses, parseDuration, '1h30m', 5_400_000)
test(parses, parseDuration, '1h 30min', 5_400_000)
test(parses, parseDuration, '7d', 7 * 86_400_000)
for (const text of ['', '10', 'h', '1y', '-1h', '1h30']) test(refuses, parseDuration, text)

test('formatBytes() keeps three significant digits', (t) => {
  const shown = [0, 999, 1000, 1023, 1024, 1536, 12 * 2 ** 20, 1023 * 2 ** 20, 2 ** 30, 2 ** 52].map(
    formatBytes,
  )
  t.deepEqual(shown, [
    '0 B',
    '999 B',
    '0.98 KiB',
    '1.00 KiB',
    '1.00 KiB',
    '1.50 KiB',
    '12.0 MiB',
    '1.00 GiB',
    '1.00 GiB',
    '4.00 PiB',
  ])
  t.is(formatRate(117 * 2 ** 20), '117 MiB/s')
})

test('formatBytes() is read back by parseSize() within half a unit of its last digit', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 52 }), (bytes) => {
      return Math.abs(parseSize(formatBytes(bytes)) - bytes) <= Math.max(bytes / 180, 8)
    }),
  )
  t.pass()
})

test('formatDuration() picks the unit', (t) => {
  const shown = [0, 850, 3400, 59_960, 125_000, 3_720_000, 86_400_000, 277_200_000].map(formatDuration)
  t.deepEqual(shown, ['0 ms', '850 ms', '3.4 s', '1m 00s', '2m 05s', '1h 02m', '1d 0h', '3d 5h'])
})
