import { readFile } from 'node:fs/promises'
import test from 'ava'
import fc from 'fast-check'
import { type DescribedMachine, formatMachine, parseMachine } from '../../../agent/clouds/machine-file.ts'
import { FluidError } from '../../../protocol/errors.ts'

const example = async (name: string) =>
  readFile(new URL(`../../../deploy/examples/machines/${name}.toml`, import.meta.url), 'utf8')

test('parseMachine() reads the example of a machine, and takes for granted what it shows as default', async (t) => {
  const text = await example('shop')
  const machine = parseMachine('shop', text)
  t.like(machine, { name: 'shop', vcpus: 1, memoryBytes: 512 << 20, firmware: 'bios', chipset: 'q35' })
  t.deepEqual(machine.disks[1], {
    id: 'vdb',
    path: '/srv/images/shop-data.raw',
    format: 'raw',
    boot: false,
    bus: 'virtio',
    readOnly: false,
  })
  t.deepEqual(machine.nics[0].forwards, [{ hostAddress: '127.0.0.1', hostPort: 8080, guestPort: 80 }])
  const shown = text.replace(/^# (\w+ = (?!"\.\.\.))/gm, '$1')
  t.deepEqual(parseMachine('shop', shown), machine)
})

test('parseMachine() reads the example of a service', async (t) => {
  const { extra, disks } = parseMachine('ledger', await example('ledger'))
  t.deepEqual(extra, { start: ['/usr/local/bin/ledger', '--port', '7000'] })
  t.is(disks[0].id, 'state')
})

const word = (letters: string, most: number) =>
  fc.string({ unit: fc.constantFrom(...letters.split('')), minLength: 1, maxLength: most })
const small = word('abcz09', 20)
const machines: fc.Arbitrary<DescribedMachine> = fc.record({
  name: word('aZ_9', 63),
  architecture: fc.constant('x86_64' as const),
  vcpus: fc.integer({ min: 1, max: 512 }),
  memoryBytes: fc.integer({ min: 2 ** 20, max: 2 ** 40 }),
  firmware: fc.constantFrom('bios', 'uefi'),
  chipset: fc.constantFrom('q35', 'pc'),
  disks: fc.uniqueArray(
    fc.record(
      {
        id: small,
        path: fc
          .string({ minLength: 1, maxLength: 30 })
          .map((name) => `/d/${name.replaceAll(/[/\0\n]/g, '-')}x`),
        format: fc.constantFrom('raw', 'qcow2'),
        boot: fc.boolean(),
        bus: fc.constantFrom('virtio', 'scsi', 'sata', 'ide'),
        readOnly: fc.boolean(),
        serial: small,
      },
      { requiredKeys: ['id', 'path', 'format', 'boot', 'bus', 'readOnly'] },
    ),
    { selector: (disk) => disk.id, maxLength: 4 },
  ),
  nics: fc.uniqueArray(
    fc.record({
      id: small,
      mac: fc.constant('52:54:00:00:00:01'),
      model: fc.constantFrom('virtio', 'e1000'),
      network: small,
      forwards: fc.array(
        fc.record({
          hostAddress: fc.constantFrom('127.0.0.1', '::1', '0.0.0.0'),
          hostPort: fc.integer({ min: 1, max: 65_535 }),
          guestPort: fc.integer({ min: 1, max: 65_535 }),
        }),
        { maxLength: 3 },
      ),
    }),
    { selector: (nic) => nic.id, maxLength: 3 },
  ),
})

test('formatMachine() writes what parseMachine() reads as the same machine', (t) => {
  fc.assert(
    fc.property(machines, (machine) => {
      t.deepEqual(parseMachine(machine.name, formatMachine(machine)), machine)
    }),
  )
})

const refuses = test.macro({
  exec: (t, text: string, message: RegExp) => {
    const error = t.throws(() => parseMachine('one', text), { instanceOf: FluidError })
    t.is(error.code, 'CONFIG_INVALID')
    t.regex(error.message, message)
  },
  title: (_, text) => `parseMachine() refuses ${JSON.stringify(text)}`,
})

test(refuses, 'cpus = 1', /Unknown key cpus/)
test(refuses, 'vcpus = 0', /vcpus is 0/)
test(refuses, 'memory = 512', /memory is 512/)
test(refuses, 'memory = "1KiB"', /memory/)
test(refuses, 'disks = 1', /disks is 1/)
test(refuses, '[[disks]]\npath = "/x"', /disks\[0\]\.id is null/)
test(refuses, '[[disks]]\nid = "a"\npath = "x"', /disks\[0\]\.path is "x", which is not an absolute path/)
test(refuses, '[[disks]]\nid = "a"\npath = "/x/../etc"', /without detours/)
test(refuses, '[[disks]]\nid = "A"\npath = "/x"', /disks\[0\]\.id/)
test(refuses, '[[disks]]\nid = "a"\npath = "/x"\nsize = 1', /Unknown key disks\[0\]\.size/)
test(refuses, '[[disks]]\nid = "a"\npath = "/x"\nserial = "a,b=c"', /serial/)
test(refuses, '[[disks]]\nid = "a"\npath = "/x"\n[[disks]]\nid = "a"\npath = "/y"', /disks has a twice/)
test(refuses, '[[nics]]\nid = "a"\nmac = "52:54:00:00:00:0G"', /mac/)
test(refuses, '[[nics]]\nid = "a"\nmac = "52:54:00:00:00:01"\nnetwork = "x,y"', /network/)
test(
  refuses,
  '[[nics]]\nid = "a"\nmac = "52:54:00:00:00:01"\nforwards = ["127.0.0.1:80:80,guestfwd=x"]',
  /forwards/,
)
test(refuses, `[extra]\nstart = "${'x'.repeat(17_000)}"`, /extra/)

test('formatMachine() refuses what no description can say', (t) => {
  const machine = parseMachine('one', '')
  for (const wrong of [
    { ...machine, name: '../one' },
    { ...machine, vcpus: 0 },
    { ...machine, extra: { start: [null] } },
  ])
    t.throws(() => formatMachine(wrong), { code: 'CLOUD_FAILED' })
})
