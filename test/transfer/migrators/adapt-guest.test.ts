import test from 'ava'
import type { MigratorContext } from '../../../transfer/migrator.ts'
import { applyChanges, previewChanges } from '../../../transfer/migrators/apply.ts'
import { type GuestContent, memoryGuest } from '../../../transfer/migrators/memory-guest.ts'
import { resolveMigrator } from '../../../transfer/migrators/registry.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

const MACS = ['52:54:00:00:00:01', '52:54:00:00:00:02']
const context: MigratorContext = {
  signal: new AbortController().signal,
  machine: { name: 'web', macs: MACS },
}

/** The texts of a guest after adapt-guest, after a check that a second run would change nothing and that undo is exact. */
async function adapted(
  contents: Record<string, GuestContent>,
  input: object,
): Promise<Record<string, string>> {
  const migrator = await resolveMigrator('adapt-guest', '1.0.0')
  const guest = memoryGuest(contents)
  const changes = await previewChanges(guest, [{ migrator, input }], context)
  const undo = await applyChanges(guest, changes)
  const texts = guest.texts()
  await applyChanges(guest, undo)
  const restored = guest.texts()
  const untouched = memoryGuest(contents).texts()
  if (JSON.stringify(restored) !== JSON.stringify(untouched))
    throw new Error('Undo did not restore the guest')
  return texts
}

test('adapt-guest names the guest, in hosts too', async (t) => {
  const texts = await adapted(
    {
      '/etc/hostname': 'old\n',
      '/etc/hosts': '127.0.0.1\tlocalhost\n127.0.1.1\told.example.org\told # me\n10.0.0.9 olds db\n',
    },
    { hostname: 'new' },
  )
  t.is(texts['/etc/hostname'], 'new\n')
  t.is(texts['/etc/hosts'], '127.0.0.1\tlocalhost\n127.0.1.1\tnew.example.org\tnew # me\n10.0.0.9 olds db\n')
})

test('adapt-guest names the guest by its domain, and adds it to hosts', async (t) => {
  const texts = await adapted(
    { '/etc/hostname': '# name\nold\n', '/etc/hosts': '127.0.0.1 localhost\n::1 localhost\n' },
    { hostname: 'new.example.org' },
  )
  t.is(texts['/etc/hostname'], '# name\nnew.example.org\n')
  t.is(texts['/etc/hosts'], '127.0.0.1 localhost\n127.0.1.1\tnew.example.org new\n::1 localhost\n')
})

test('adapt-guest keeps cloud-init from naming the guest back', async (t) => {
  const texts = await adapted({ '/etc/hostname': 'old\n', '/etc/cloud/cloud.cfg': '' }, { hostname: 'new' })
  t.is(texts['/etc/cloud/cloud.cfg.d/99-fluidcloud-hostname.cfg'], 'preserve_hostname: true\n')
})

test('adapt-guest makes /etc/hostname only where systemd reads it', async (t) => {
  const texts = await adapted({ '/etc/os-release': '', '/usr/lib/systemd/systemd': '' }, { hostname: 'new' })
  t.is(texts['/etc/hostname'], 'new\n')
  await t.throwsAsync(adapted({ '/etc/os-release': '' }, { hostname: 'new' }), { code: 'GUEST_UNSUPPORTED' })
})

test('adapt-guest refuses what is no guest of Linux', async (t) => {
  await t.throwsAsync(adapted({ '/Windows/x': '' }, { hostname: 'new' }), { code: 'GUEST_UNSUPPORTED' })
})

const [MAC] = MACS
const OLD_MAC = '52:54:00:aa:bb:cc'

const NETWORKS: Readonly<
  Record<string, [before: Record<string, GuestContent>, input: object, after: Record<string, string>]>
> = {
  'ifupdown from DHCP to fixed addresses': [
    {
      '/etc/network/interfaces':
        '# main\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\nauto ens3\niface ens3 inet dhcp\n    mtu 1400\n\n# end\n',
    },
    {
      name: 'ens3',
      mac: MAC,
      method: 'static',
      addresses: ['192.0.2.5/24', '2001:db8::5/64'],
      gateways: ['192.0.2.1'],
      nameservers: ['9.9.9.9'],
    },
    {
      '/etc/network/interfaces':
        '# main\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\nauto ens3\niface ens3 inet static\n    address 192.0.2.5/24\n    gateway 192.0.2.1\n    dns-nameservers 9.9.9.9\n    mtu 1400\n\n# end\n\niface ens3 inet6 static\n    address 2001:db8::5/64\n',
    },
  ],
  'ifupdown from fixed addresses to DHCP, with another MAC address': [
    {
      '/etc/network/interfaces': 'auto lo\niface lo inet loopback\n',
      '/etc/network/interfaces.d/eth0': `allow-hotplug eth0\niface eth0 inet static\n\thwaddress ether ${OLD_MAC}\n\taddress 10.0.0.2\n\tnetmask 255.255.255.0\n\tgateway 10.0.0.1\n\tup echo eth0\niface eth0 inet6 static\n\taddress fd00::2/64\n`,
    },
    { mac: MAC, previousMac: OLD_MAC, method: 'dhcp' },
    {
      '/etc/network/interfaces.d/eth0': `allow-hotplug eth0\niface eth0 inet dhcp\n\thwaddress ether ${MAC}\n\tup echo eth0\n`,
    },
  ],
  'ifupdown with another name': [
    { '/usr/lib/systemd/systemd': '', '/etc/network/interfaces': 'auto ens3\niface ens3 inet dhcp\n' },
    { name: 'ens3', rename: 'lan0', mac: MAC },
    {
      '/etc/network/interfaces': 'auto lan0\niface lan0 inet dhcp\n',
      '/etc/systemd/network/10-fluidcloud-lan0.link': `# Made by FluidCloud: the name by which this guest configures its network card.\n[Match]\nMACAddress=${MAC}\n\n[Link]\nName=lan0\n`,
    },
  ],
  'ifupdown from addresses of IPv6 alone to DHCP': [
    { '/etc/network/interfaces': 'auto eth0\niface eth0 inet6 auto\n' },
    { mac: MAC, method: 'dhcp' },
    { '/etc/network/interfaces': 'auto eth0\n\niface eth0 inet dhcp\n' },
  ],
  'ifupdown in two files, each address once': [
    {
      '/etc/network/interfaces': 'auto eth0\niface eth0 inet dhcp\n',
      '/etc/network/interfaces.d/six': `iface eth0 inet6 auto\n  hwaddress ${OLD_MAC}\niface eth0 inet static\n  address 10.0.0.2/24\n`,
    },
    { mac: MAC, previousMac: OLD_MAC, method: 'static', addresses: ['192.0.2.5/24', '2001:db8::5/64'] },
    {
      '/etc/network/interfaces': 'auto eth0\niface eth0 inet static\n    address 192.0.2.5/24\n',
      '/etc/network/interfaces.d/six': `iface eth0 inet6 static\n  address 2001:db8::5/64\n  hwaddress ${MAC}\n`,
    },
  ],
  'ifupdown with another name, where another file starts it': [
    {
      '/etc/network/interfaces': '# eth0 is first\nauto eth0\n',
      '/etc/network/interfaces.d/eth0': 'iface eth0 inet dhcp\n',
    },
    { name: 'eth0', rename: 'lan0', mac: MAC },
    {
      '/etc/network/interfaces': '# eth0 is first\nauto lan0\n',
      '/etc/network/interfaces.d/eth0': 'iface lan0 inet dhcp\n',
    },
  ],
  'netplan by MAC address': [
    {
      '/etc/netplan/50-cloud-init.yaml': `# made by cloud-init\nnetwork:\n  version: 2\n  ethernets:\n    ens3:\n      match:\n        macaddress: "${OLD_MAC}"   # old\n      set-name: ens3\n      dhcp4: true\n      nameservers:\n        addresses: [1.1.1.1]\n`,
      '/etc/cloud/cloud.cfg': '',
    },
    {
      mac: MAC,
      previousMac: OLD_MAC,
      method: 'static',
      addresses: ['192.0.2.5/24'],
      gateways: ['192.0.2.1'],
      nameservers: ['9.9.9.9'],
    },
    {
      '/etc/netplan/50-cloud-init.yaml': `# made by cloud-init\nnetwork:\n  version: 2\n  ethernets:\n    ens3:\n      match:\n        macaddress: "${MAC}"   # old\n      set-name: ens3\n      dhcp4: false\n      nameservers:\n        addresses: ["9.9.9.9"]\n      addresses:\n        - 192.0.2.5/24\n      gateway4: 192.0.2.1\n`,
      '/etc/cloud/cloud.cfg.d/99-fluidcloud-network.cfg': 'network: {config: disabled}\n',
    },
  ],
  'netplan from fixed addresses to DHCP': [
    {
      '/etc/netplan/01.yaml':
        'network:\n  ethernets:\n    ens3:\n      addresses:\n        - 10.0.0.2/24 # own\n      routes:\n        - to: default\n          via: 10.0.0.1\n      # mtu of the old line\n      mtu: 1400\n  version: 2\n',
    },
    { name: 'ens3', mac: MAC, method: 'dhcp' },
    {
      '/etc/netplan/01.yaml':
        'network:\n  ethernets:\n    ens3:\n      # mtu of the old line\n      mtu: 1400\n      dhcp4: true\n  version: 2\n',
    },
  ],
  'netplan with another name': [
    { '/etc/netplan/01.yaml': 'network:\n  version: 2\n  ethernets:\n    ens3:\n      dhcp4: true\n' },
    { name: 'ens3', rename: 'lan0', mac: MAC },
    {
      '/etc/netplan/01.yaml': `network:\n  version: 2\n  ethernets:\n    ens3:\n      dhcp4: true\n      match:\n        macaddress: "${MAC}"\n      set-name: lan0\n`,
    },
  ],
  'netplan with a gateway of old, and an address given to the card': [
    {
      '/etc/netplan/01.yaml': `network:\n  ethernets:\n    ens3:\n      macaddress: "${OLD_MAC}"\n      addresses:\n        - 10.0.0.2/24\n      routes:\n        - to: default\n          via: 10.0.0.1\n`,
    },
    { name: 'ens3', mac: MAC, method: 'static', addresses: ['192.0.2.5/24'] },
    {
      '/etc/netplan/01.yaml': `network:\n  ethernets:\n    ens3:\n      macaddress: "${MAC}"\n      addresses:\n        - 192.0.2.5/24\n`,
    },
  ],
  'systemd-networkd with an address given to the card': [
    {
      '/etc/systemd/network/a.network': `[Match]\nName=ens3\n[Link]\nMACAddress=${OLD_MAC}\n[Network]\nDHCP=yes\n`,
    },
    { name: 'ens3', mac: MAC },
    {
      '/etc/systemd/network/a.network': `[Match]\nName=ens3\n[Link]\nMACAddress=${MAC}\n[Network]\nDHCP=yes\n`,
    },
  ],
  'systemd-networkd': [
    {
      '/etc/systemd/network/10-lan.link': `[Match]\nPermanentMACAddress=${OLD_MAC}\n[Link]\nName=lan0\n`,
      '/etc/systemd/network/10-lan.network': '# lan\n[Match]\nName=lan0\n\n[Network]\nDHCP=ipv4\nLLDP=no\n',
      '/etc/systemd/network/99-all.network': '[Match]\nName=en*\n[Network]\nDHCP=yes\n',
    },
    {
      name: 'lan0',
      mac: MAC,
      previousMac: OLD_MAC,
      method: 'static',
      addresses: ['192.0.2.5/24'],
      gateways: ['192.0.2.1'],
    },
    {
      '/etc/systemd/network/10-lan.link': `[Match]\nPermanentMACAddress=${MAC}\n[Link]\nName=lan0\n`,
      '/etc/systemd/network/10-lan.network':
        '# lan\n[Match]\nName=lan0\n\n[Network]\nAddress=192.0.2.5/24\nGateway=192.0.2.1\nLLDP=no\n',
      '/etc/systemd/network/99-all.network': '[Match]\nName=en*\n[Network]\nDHCP=yes\n',
    },
  ],
  'persistent names of udev': [
    {
      '/etc/udev/rules.d/70-persistent-net.rules': `# ${OLD_MAC}\nSUBSYSTEM=="net", ATTR{address}=="${OLD_MAC.toUpperCase()}", NAME="eth0"\n`,
    },
    { mac: MAC, previousMac: OLD_MAC },
    {
      '/etc/udev/rules.d/70-persistent-net.rules': `# ${OLD_MAC}\nSUBSYSTEM=="net", ATTR{address}=="${MAC}", NAME="eth0"\n`,
    },
  ],
}
for (const [what, [before, input, after]] of Object.entries(NETWORKS)) {
  test(`adapt-guest adapts the network: ${what}`, async (t) => {
    const texts = await adapted({ '/etc/os-release': '', ...before }, { network: [input] })
    for (const [path, content] of Object.entries(after)) t.is(texts[path], content, path)
  })
}

const NETWORK_REFUSED: Readonly<Record<string, [Record<string, GuestContent>, object]>> = {
  'an interface that nothing configures': [
    { '/etc/network/interfaces': 'iface ens3 inet dhcp\n' },
    { name: 'ens4', mac: MAC, method: 'dhcp' },
  ],
  'another name where ifupdown has a bridge over the card': [
    {
      '/etc/network/interfaces': 'iface eth0 inet manual\niface br0 inet dhcp\n  bridge_ports eth0\n',
    },
    { name: 'eth0', rename: 'lan0', mac: MAC },
  ],
  'another name where ifupdown has a VLAN over the card': [
    { '/etc/network/interfaces': 'iface eth0 inet manual\nauto eth0.7\niface eth0.7 inet dhcp\n' },
    { name: 'eth0', rename: 'lan0', mac: MAC },
  ],
  'other addresses where ifupdown has routes of its own': [
    {
      '/etc/network/interfaces':
        'iface eth0 inet static\n  address 10.0.0.2/24\n  post-up ip route add 10.9.0.0/16 via 10.0.0.9\n',
    },
    { name: 'eth0', mac: MAC, method: 'dhcp' },
  ],
  NetworkManager: [
    { '/etc/NetworkManager/system-connections/a.nmconnection': '' },
    { mac: MAC, method: 'dhcp' },
  ],
  'routes of netplan': [
    {
      '/etc/netplan/01.yaml':
        'network:\n  ethernets:\n    ens3:\n      routes:\n        - to: 10.9.0.0/16\n          via: 10.0.0.1\n',
    },
    { name: 'ens3', mac: MAC, method: 'dhcp' },
  ],
  'routes of netplan with fixed addresses and no gateway': [
    {
      '/etc/netplan/01.yaml':
        'network:\n  ethernets:\n    ens3:\n      routes:\n        - to: 10.9.0.0/16\n          via: 10.0.0.1\n',
    },
    { name: 'ens3', mac: MAC, method: 'static', addresses: ['192.0.2.5/24'] },
  ],
  'a default route of netplan by another table': [
    {
      '/etc/netplan/01.yaml':
        'network:\n  ethernets:\n    ens3:\n      routes:\n        - to: default\n          via: 10.0.0.1\n          table: 101\n',
    },
    { name: 'ens3', mac: MAC, method: 'dhcp' },
  ],
  'addresses for a port of a bridge of netplan': [
    {
      '/etc/netplan/01.yaml': 'network:\n  ethernets:\n    ens3: {}\n',
      '/etc/netplan/02.yaml':
        'network:\n  bridges:\n    br0:\n      interfaces: [ens3]\n      addresses: [10.0.0.2/24]\n',
    },
    { mac: MAC, method: 'dhcp' },
  ],
  'addresses for a part of a bond of systemd-networkd': [
    { '/etc/systemd/network/a.network': '[Match]\nName=ens3\n[Network]\nBond=bond0\n' },
    { mac: MAC, method: 'dhcp' },
  ],
  'a pattern of netplan that fits both cards': [
    { '/etc/netplan/01.yaml': 'network:\n  ethernets:\n    all:\n      match: {name: "en*"}\n' },
    { mac: MAC, method: 'static', addresses: ['192.0.2.5/24'] },
  ],
  'addresses where udev alone knows the card': [
    {
      '/etc/udev/rules.d/70-persistent-net.rules': `SUBSYSTEM=="net", ATTR{address}=="${OLD_MAC}", NAME="eth0"\n`,
      '/etc/sysconfig/network-scripts/ifcfg-eth0': 'DEVICE=eth0\nBOOTPROTO=static\n',
      '/etc/sysconfig/network': 'NETWORKING=yes\n',
    },
    { mac: MAC, previousMac: OLD_MAC, method: 'dhcp' },
  ],
  'another MAC address where NetworkManager names the old one': [
    {
      '/etc/NetworkManager/system-connections/a.nmconnection': `[ethernet]\nmac-address=${OLD_MAC.toUpperCase()}\n`,
    },
    { mac: MAC, previousMac: OLD_MAC },
  ],
  'netplan that is not YAML': [
    { '/etc/netplan/01.yaml': 'network: [' },
    { name: 'ens3', mac: MAC, method: 'dhcp' },
  ],
}
for (const [what, [contents, input]] of Object.entries(NETWORK_REFUSED)) {
  test(`adapt-guest refuses ${what}`, async (t) => {
    await t.throwsAsync(adapted({ '/etc/os-release': '', ...contents }, { network: [input] }), {
      code: 'GUEST_UNSUPPORTED',
    })
  })
}

test('adapt-guest says which stack it cannot adapt', async (t) => {
  const contents = { '/etc/NetworkManager/system-connections/a.nmconnection': '' }
  await t.throwsAsync(adapted(contents, { network: [{ mac: MAC, method: 'dhcp' }] }), {
    message: /NetworkManager/,
  })
})

test('adapt-guest takes an interface for one card, not for the next one too', async (t) => {
  const text = `network:\n  ethernets:\n    lan:\n      match: {macaddress: "${OLD_MAC}"}\n      dhcp4: true\n`
  const texts = await adapted(
    { '/etc/os-release': '', '/etc/netplan/01.yaml': text },
    { network: [{ mac: MAC, previousMac: OLD_MAC }, { mac: MACS[1] }] },
  )
  t.is(texts['/etc/netplan/01.yaml'], text.replace(OLD_MAC, MAC))
})

test('adapt-guest refuses a MAC address that the machine will not have', async (t) => {
  await t.throwsAsync(adapted({ '/etc/x': '' }, { network: [{ mac: OLD_MAC }] }), { code: 'USAGE' })
})

test('adapt-guest names disks in fstab by UUID, and leaves out those that stay', async (t) => {
  const fstab =
    '# /etc/fstab\n/dev/vda1 / ext4 errors=remount-ro 0 1\n/dev/vdb\t/data xfs defaults 0 0\nUUID=abcd /boot ext4 defaults 0 2\n/dev/vdc /scratch ext4 defaults 0 0\n/dev/sr0 /media auto noauto 0 0\n'
  const texts = await adapted(
    { '/etc/fstab': fstab },
    { fstab: { uuids: { '/dev/vda1': '1111-2222', '/dev/vdb': 'aaaa' }, stays: ['/dev/vdc'] } },
  )
  t.is(
    texts['/etc/fstab'],
    '# /etc/fstab\nUUID=1111-2222 / ext4 errors=remount-ro 0 1\nUUID=aaaa\t/data xfs defaults 0 0\nUUID=abcd /boot ext4 defaults 0 2\n# FluidCloud: this disk did not move with the machine.\n# /dev/vdc /scratch ext4 defaults 0 0\n/dev/sr0 /media auto noauto 0 0\n',
  )
  await t.throwsAsync(adapted({ '/etc/fstab': fstab }, { fstab: { uuids: { '/dev/vda1': '1111-2222' } } }), {
    message: /\/dev\/vdb at \/data/,
  })
  for (const name of ['by-path/pci-0000:00:04.0-part1', 'by-id/virtio-abc-part1'])
    await t.throwsAsync(adapted({ '/etc/fstab': `/dev/disk/${name} / ext4\n` }, { fstab: {} }), {
      message: /its UUID is not known/,
    })
  const kept = { '/etc/fstab': '/dev/disk/by-id/dm-name-vg-a / ext4\n/dev/disk/by-label/a /a ext4\n' }
  t.deepEqual(await adapted(kept, { fstab: {} }), kept)
  await t.throwsAsync(adapted({ '/etc/x': '' }, { fstab: {} }), { code: 'GUEST_UNSUPPORTED' })
})

test('adapt-guest seeds cloud-init, as the instance it was', async (t) => {
  const contents = { '/etc/cloud/cloud.cfg': '', '/var/lib/cloud/data/instance-id': 'i-1234\n' }
  const texts = await adapted(contents, { cloudInit: { network: 'disabled', seed: { hostname: 'new' } } })
  t.is(texts['/var/lib/cloud/seed/nocloud/meta-data'], 'instance-id: i-1234\nlocal-hostname: new\n')
  t.is(texts['/var/lib/cloud/seed/nocloud/user-data'], '#cloud-config\n{}\n')
  t.is(texts['/etc/cloud/cloud.cfg.d/99-fluidcloud-network.cfg'], 'network: {config: disabled}\n')
  const renamed = await adapted(contents, { cloudInit: { seed: { instanceId: 'i-5' } } })
  t.is(renamed['/var/lib/cloud/seed/nocloud/meta-data'], 'instance-id: i-5\n')
  await t.throwsAsync(adapted({ '/etc/x': '' }, { cloudInit: { network: 'disabled' } }), {
    code: 'GUEST_UNSUPPORTED',
  })
})

test('adapt-guest keeps machine-id and host keys, or has the guest make new ones', async (t) => {
  const contents = {
    '/usr/lib/systemd/systemd': '',
    '/usr/bin/ssh-keygen': '',
    '/etc/machine-id': '0123\n',
    '/var/lib/dbus/machine-id': '0123\n',
    '/etc/ssh/ssh_host_ed25519_key': { content: 'private', mode: 0o600 },
    '/etc/ssh/ssh_host_ed25519_key.pub': 'public',
    '/etc/ssh/sshd_config': 'Port 22\n',
  }
  t.deepEqual(
    await adapted(contents, { machineId: 'keep', sshHostKeys: 'keep' }),
    memoryGuest(contents).texts(),
  )
  const texts = await adapted(contents, { machineId: 'renew', sshHostKeys: 'renew' })
  t.is(texts['/etc/machine-id'], '')
  t.false('/var/lib/dbus/machine-id' in texts)
  t.deepEqual(
    Object.keys(texts).filter((path) => path.startsWith('/etc/ssh/')),
    ['/etc/ssh/sshd_config'],
  )
  t.true(
    texts['/etc/systemd/system/fluidcloud-host-keys.service'].includes('ExecStart=/usr/bin/ssh-keygen -A\n'),
  )
  const { '/usr/bin/ssh-keygen': _, ...without } = contents
  await t.throwsAsync(adapted(without, { sshHostKeys: 'renew' }), { code: 'GUEST_UNSUPPORTED' })
})

for (const [what, input] of Object.entries({
  'an unknown key': { hostnam: 'x' },
  'a name with a space': { hostname: 'a b' },
  'a name with a line end': { hostname: 'a\n' },
  'no object': 'x',
  'addresses without a method': { network: [{ mac: MACS[0], addresses: ['192.0.2.5/24'] }] },
  'an address without its prefix': {
    network: [{ mac: MACS[0], method: 'static', addresses: ['192.0.2.5'] }],
  },
  'a device that is none': { fstab: { uuids: { '/etc/passwd': 'aaaa' } } },
  'a name that would leave its file': { network: [{ mac: MACS[0], rename: '../x' }] },
})) {
  test(`adapt-guest refuses ${what}`, async (t) => {
    const migrator = await resolveMigrator('adapt-guest', '1')
    t.throws(() => migrator.check(input), { code: 'USAGE' })
  })
}

test('resolveMigrator() refuses other majors, unknown names and versions', async (t) => {
  await refusedWith(t, 'VERSION_UNSUPPORTED', resolveMigrator('adapt-guest', '2.0.0'))
  await refusedWith(t, 'POLICY_DENIED', resolveMigrator('unknown', '1.0.0'))
  await refusedWith(t, 'USAGE', resolveMigrator('adapt-guest', 'latest'))
  t.is((await resolveMigrator('adapt-guest', '1.7.3')).name, 'adapt-guest')
})
