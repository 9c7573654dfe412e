import test from 'ava'
import type { Machine } from '../../../protocol/machine.ts'
import { type DomainHost, formatDomain } from '../../../agent/clouds/libvirt-definition.ts'
import { readDomain } from '../../../agent/clouds/libvirt-domain.ts'
import { all, attr, first, parseXml, text } from '../../../agent/clouds/libvirt-xml.ts'

const tcg: DomainHost = {
  accel: 'tcg',
  network: (name) => ({ default: 'network' as const, br0: 'bridge' as const })[name],
  isDevice: (path) => path.startsWith('/dev/'),
  machineTypes: new Set(['pc-q35-7.2']),
}

const plain: Machine = {
  name: 'shop',
  architecture: 'x86_64',
  vcpus: 2,
  memoryBytes: 512 << 20,
  firmware: 'bios',
  chipset: 'q35',
  disks: [
    disk({ id: 'vda', boot: true }),
    disk({ id: 'data', path: '/dev/vg/data', format: 'raw', serial: 'S-1' }),
    disk({ id: 'seed', path: '/iso', format: 'raw', bus: 'sata', readOnly: true }),
  ],
  nics: [
    nic({ id: 'front', mac: '52:54:00:00:00:01', network: 'user', forwards: [forward(8080, 80)] }),
    nic({ id: 'back', mac: '52:54:00:00:00:02', network: 'default', model: 'e1000' }),
    nic({ id: 'net2', mac: '52:54:00:00:00:03', network: 'br0' }),
    nic({ id: 'out', mac: '52:54:00:00:00:04', network: 'user' }),
  ],
}

test('formatDomain() and readDomain() keep a machine', (t) => {
  for (const machine of [
    plain,
    { ...plain, nics: [], disks: [disk({ id: 'vda', boot: false })] },
    { ...plain, chipset: 'pc' as const, firmware: 'uefi' as const, extra: { start: ['/bin/x', `<&'">`] } },
    {
      ...plain,
      extra: {
        other: { deep: [1, null] },
        libvirt: {
          machine: 'pc-q35-7.2',
          cpu: { mode: 'custom', model: 'Nehalem', features: [{ policy: 'require', name: 'aes' }] },
          topology: { sockets: 1, cores: 2, threads: 1 },
          clock: 'localtime',
          guestAgent: true,
          rng: true,
          video: 'virtio',
          nicModels: { back: 'e1000e' },
        },
      },
    },
  ])
    t.deepEqual<unknown, unknown>(there(machine), machine)
})

test('formatDomain() says of each disk that nothing lies under it', (t) => {
  const disks = all(first(parse(formatDomain(plain, tcg)), 'devices'), 'disk')
  t.deepEqual(
    disks.map((one) => first(one, 'backingStore')?.childNodes.length),
    [0, 0, 0],
  )
})

test('formatDomain() emulates a processor of the host, and keeps it with KVM', (t) => {
  const machine = { ...plain, extra: { libvirt: { cpu: { mode: 'host-passthrough' } } } }
  const cpu = (host: DomainHost) => attr(first(parse(formatDomain(machine, host)), 'cpu'), 'mode')
  t.is(cpu(tcg), 'maximum')
  t.is(cpu({ ...tcg, accel: 'kvm' }), 'host-passthrough')
  t.is(attr(parse(formatDomain(plain, { ...tcg, accel: 'kvm' })), 'type'), 'kvm')
})

test('formatDomain() takes a versioned machine type only where QEMU has it', (t) => {
  const type = (machine: string) =>
    attr(
      first(parse(formatDomain({ ...plain, extra: { libvirt: { machine } } }, tcg)), 'os', 'type'),
      'machine',
    )
  t.is(type('pc-q35-7.2'), 'pc-q35-7.2')
  t.is(type('pc-q35-9.1'), 'q35')
})

test('formatDomain() lets nothing of a description become XML or another argument of QEMU', (t) => {
  const path = `/images/it's <&"here>,x=y'/><hostdev/>.qcow2`
  const domain = parse(formatDomain({ ...plain, disks: [disk({ path })], nics: [] }, tcg))
  t.is(attr(first(domain, 'devices', 'disk', 'source'), 'file'), path)
  t.is(all(domain, 'devices', 'hostdev').length, 0)
  const refuses = (change: Partial<Machine>, message: RegExp) =>
    t.throws(() => formatDomain({ ...plain, ...change }, tcg), { code: 'CLOUD_FAILED', message })
  const bad = { ...forward(1, 2), hostAddress: '::1,guestfwd=tcp:10.0.2.1:1-cmd:x' }
  refuses({ nics: [nic({ network: 'user', forwards: [bad] })] }, /IPv4 only/)
  refuses({ nics: [nic({ network: 'br0', forwards: [forward(1, 2)] })] }, /only "user" can/)
  refuses({ nics: [nic({ network: 'br9' })] }, /no network or bridge br9/)
  refuses({ disks: [disk({ path: '/a\0b' })] }, /XML cannot hold/)
  for (const libvirt of [
    { emulator: '/bin/sh' },
    { cpu: { mode: 'x' } },
    { cpu: { mode: 'custom' } },
    { cpu: { mode: 'custom', model: 'a b' } },
    { cpu: { mode: 'maximum', features: [{ policy: 'require', name: '"' }] } },
    { machine: 'microvm' },
    { video: 'qxl"/>' },
    { rng: 'egd' },
    { topology: { sockets: 0, cores: 1, threads: 1 } },
    { topology: { sockets: 1, cores: 1, "threads='1'/><numa><cell memory='500'/></numa><cache level": 3 } },
    { topology: { sockets: 1, cores: 1, threads: 1e9 } },
    { nicModels: { back: 'x' } },
    'x',
  ])
    refuses({ extra: { libvirt } }, /extra\.libvirt/)
})

test('formatDomain() finds a place on its bus for a disk of any id', (t) => {
  const disks = [
    disk({ id: 'root' }),
    disk({ id: 'vda' }),
    disk({ id: 'sda', bus: 'scsi' }),
    disk({ id: 'vdb', bus: 'sata' }),
    disk({ id: 'sdb', bus: 'virtio' }),
  ]
  const machine = { ...plain, disks, nics: [] }
  const targets = all(parse(formatDomain(machine, tcg)), 'devices', 'disk', 'target')
  t.deepEqual(
    targets.map((target) => attr(target, 'dev')),
    ['vdb', 'vda', 'sda', 'sdb', 'vdc'],
  )
  t.deepEqual(
    there(machine).disks.map(({ id }) => id),
    ['root', 'vda', 'sda', 'vdb', 'sdb'],
  )
})

test('readDomain() takes a domain of virt-manager as it is', (t) => {
  const { extra, ...machine } = read(`
    <memory unit='KiB'>2097152</memory><currentMemory unit='KiB'>1048576</currentMemory>
    <vcpu placement='static' current='2'>4</vcpu>
    <os><type arch='x86_64' machine='pc-q35-6.2'>hvm</type><loader readonly='yes' type='pflash'>/ovmf</loader>
      <nvram>/vars</nvram><boot dev='cdrom'/><boot dev='hd'/></os>
    <features><acpi/><apic/><vmport state='off'/></features>
    <cpu mode='host-passthrough' check='none' migratable='on'/><clock offset='utc'/>
    <devices>
      <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a.qcow2' index='2'/>
        <backingStore type='file'><format type='qcow2'/><source file='/base'/></backingStore>
        <target dev='vda' bus='virtio'/></disk>
      <disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/b'/>
        <target dev='sdb' bus='scsi'/><serial>x</serial></disk>
      <interface type='network'><mac address='52:54:00:AA:00:01'/><source network='default' portid='z' bridge='virbr0'/>
        <target dev='vnet0'/><model type='virtio'/></interface>
      <interface type='bridge'><mac address='52:54:00:aa:00:02'/><source bridge='br0'/><model type='e1000e'/></interface>
      <interface type='user'><mac address='52:54:00:aa:00:03'/><backend type='passt'/><model type='virtio'/>
        <portForward proto='tcp' address='127.0.0.1'><range start='2022' to='22'/></portForward></interface>
      <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
      <graphics type='spice'/><video><model type='qxl'/></video><rng model='virtio'><backend model='random'/></rng>
    </devices>`)
  t.deepEqual(machine, {
    name: 'shop',
    architecture: 'x86_64',
    vcpus: 2,
    memoryBytes: 2048 * 2 ** 20,
    firmware: 'uefi',
    chipset: 'q35',
    disks: [
      shown({ target: 'vda', path: '/a.qcow2', format: 'qcow2', boot: true, bus: 'virtio' }),
      { ...shown({ target: 'sdb', path: '/dev/b', format: 'raw', boot: false, bus: 'scsi' }), serial: 'x' },
    ],
    nics: [
      nic({ id: 'net0', mac: '52:54:00:aa:00:01', network: 'default' }),
      nic({ id: 'net1', mac: '52:54:00:aa:00:02', network: 'br0', model: 'e1000' }),
      nic({ id: 'net2', mac: '52:54:00:aa:00:03', network: 'user', forwards: [forward(2022, 22)] }),
    ],
  })
  t.deepEqual(extra, {
    libvirt: {
      machine: 'pc-q35-6.2',
      cpu: { mode: 'host-passthrough' },
      guestAgent: true,
      rng: true,
      video: 'qxl',
      nicModels: { net1: 'e1000e' },
    },
  })
})

test('readDomain() reads a user network with forwards among the arguments of QEMU', (t) => {
  const { nics } = read('<devices/>', [
    '-netdev',
    'user,id=n0,hostfwd=tcp:127.0.0.1:18180-:80,hostfwd=tcp::2222-:22',
    '-device',
    'virtio-net-pci,netdev=n0,addr=0x1a',
  ])
  t.deepEqual(nics, [
    nic({
      id: 'net0',
      mac: '52:54:00:12:34:56',
      network: 'user',
      forwards: [forward(18_180, 80), { hostAddress: '0.0.0.0', hostPort: 2222, guestPort: 22 }],
    }),
  ])
})

const disks = (inner: string, type = 'file', device = 'disk') =>
  `<devices><disk type='${type}' device='${device}'>${inner}</disk></devices>`
const image = "<source file='/a'/><target dev='vda' bus='virtio'/>"

for (const [what, body, message] of [
  ['a device of the host', "<devices><hostdev mode='subsystem'/></devices>", /passed through/],
  ['a TPM', '<devices><tpm/></devices>', /TPM/],
  ['a shared folder', '<devices><filesystem/></devices>', /folder/],
  [
    'a disk over the network',
    disks("<source protocol='rbd' name='x'/><target dev='vda' bus='virtio'/>", 'network'),
    /disk vda is of type network/,
  ],
  [
    'an encrypted disk',
    disks("<source file='/a'><encryption format='luks'/></source><target dev='vda' bus='virtio'/>"),
    /encrypted/,
  ],
  ['a shared disk', disks(`${image}<shareable/>`), /shared/],
  ['a disk of another format', disks(`<driver type='vmdk'/>${image}`), /format vmdk/],
  ['a disk on USB', disks("<source file='/a'/><target dev='sda' bus='usb'/>"), /bus usb/],
  ['a disk of SCSI itself', disks(image, 'block', 'lun'), /lun/],
  ['macvtap', "<devices><interface type='direct'><source dev='eth0'/></interface></devices>", /type direct/],
  ['another machine type', "<os><type arch='x86_64' machine='microvm'>hvm</type></os>", /microvm/],
  ['another architecture', "<os><type arch='aarch64' machine='virt'>hvm</type></os>", /aarch64/],
  [
    'secure boot',
    "<os><type arch='x86_64' machine='q35'>hvm</type><loader secure='yes' type='pflash'/></os>",
    /securely/,
  ],
  [
    'a kernel of the host',
    "<os><type arch='x86_64' machine='q35'>hvm</type><kernel>/k</kernel></os>",
    /kernel/,
  ],
] as const)
  test(`readDomain() refuses ${what}`, (t) => {
    t.throws(() => read(body), { code: 'CLOUD_FAILED', message })
  })

test('readDomain() refuses arguments of QEMU that it does not understand', (t) => {
  for (const args of [
    ['-device', 'ivshmem-plain'],
    ['-netdev', 'user,id=a,guestfwd=tcp:10.0.2.100:1-cmd:x'],
    ['-device', 'virtio-net-pci,netdev=nowhere'],
    ['-snapshot'],
  ])
    t.throws(() => read('<devices/>', args), { code: 'CLOUD_FAILED', message: /arguments for QEMU/ })
})

test('parseXml() refuses what is not well-formed, other documents and entities', (t) => {
  for (const bad of ['', '<a', '<a><b></a>', '<b/>', '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'])
    t.throws(() => parseXml(bad, 'a'), { code: 'CLOUD_FAILED' })
  t.is(text(parseXml('<a> x &amp; y </a>', 'a')), 'x & y')
})

function parse(xml: string) {
  return parseXml(xml, 'domain')
}

/** The machine as libvirt would have it. */
function there(machine: unknown): Machine {
  const domain = parse(formatDomain(machine as Machine, tcg))
  const { disks: found, ...rest } = readDomain(domain, domain)
  return {
    ...rest,
    disks: found.map(({ target: _, device: __, ...facts }) => ({ ...facts, sizeBytes: 1 << 30 })),
  }
}

function read(body: string, args: readonly string[] = []) {
  const os = "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
  const line = args.map((value) => `<qemu:arg value='${value}'/>`).join('')
  const domain =
    parse(`<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>shop</name>
    ${body.includes('<os>') ? '' : os}${body}<qemu:commandline>${line}</qemu:commandline></domain>`)
  return readDomain(domain, domain)
}

function disk(facts: Partial<Machine['disks'][number]>): Machine['disks'][number] {
  return {
    id: 'vda',
    path: '/images/a.qcow2',
    format: 'qcow2',
    sizeBytes: 1 << 30,
    boot: false,
    bus: 'virtio',
    readOnly: false,
    ...facts,
  }
}

function shown(facts: { target: string; path: string; format: string; boot: boolean; bus: string }) {
  return { device: 'disk', id: facts.target, readOnly: false, ...facts }
}

function nic(facts: Partial<Machine['nics'][number]>): Machine['nics'][number] {
  return { id: 'net0', mac: '52:54:00:00:00:01', model: 'virtio', network: 'user', forwards: [], ...facts }
}

function forward(hostPort: number, guestPort: number) {
  return { hostAddress: '127.0.0.1', hostPort, guestPort }
}
