import test from 'ava'
import { inspectListeners } from '../../../agent/conduit/inspect-guest-listeners.ts'
import { inspectNetwork } from '../../../agent/conduit/inspect-guest-network.ts'
import { inspectReferences } from '../../../agent/conduit/inspect-guest-references.ts'
import { inspectServices } from '../../../agent/conduit/inspect-guest-services.ts'
import { inspectSystem } from '../../../agent/conduit/inspect-guest-system.ts'
import { memoryGuest } from '../../../transfer/migrators/memory-guest.ts'

const unit = (text: string) => `[Service]\n${text}\n`
const wants = (name: string) => ({
  [`/etc/systemd/system/multi-user.target.wants/${name}`]: { linksTo: `/lib/systemd/system/${name}` },
})

test('inspectSystem() tells system, names and keys', async (t) => {
  const guest = memoryGuest({
    '/etc/os-release': { linksTo: '../usr/lib/os-release' },
    '/usr/lib/os-release': 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n',
    '/etc/hostname': 'web-1\n',
    '/etc/machine-id': '0123456789abcdef0123456789abcdef\n',
    '/etc/cloud/cloud.cfg': 'users: []\n',
    '/etc/ssh/ssh_host_ed25519_key': 'key',
    '/etc/ssh/ssh_host_ed25519_key.pub': 'key',
  })
  t.deepEqual(await inspectSystem(guest), {
    os: { id: 'debian', name: 'Debian GNU/Linux 12', version: '12' },
    hostname: 'web-1',
    machineId: '0123456789abcdef0123456789abcdef',
    cloudInit: true,
    sshHostKeys: ['ed25519'],
  })
})

test('inspectNetwork() tells each stack, and what its files fix', async (t) => {
  const guest = memoryGuest({
    '/etc/network/interfaces':
      'auto lo eth0\niface lo inet loopback\niface eth0 inet static\n  address 10.0.0.5/24\n',
    '/etc/netplan/50-cloud-init.yaml':
      'network:\n  ethernets:\n    ens3:\n      match:\n        macaddress: "52:54:00:AB:cd:01"\n      addresses:\n        - 192.168.1.5/24\n',
    '/etc/systemd/network/10-lan.network': '[Match]\nName=enp1s0\n[Network]\nAddress=172.16.0.9/16\n',
    '/etc/NetworkManager/system-connections/a.nmconnection':
      '[connection]\ninterface-name=eth7\n[ipv4]\naddress1=10.9.8.7/24,10.9.8.1\n',
  })
  const network = await inspectNetwork(guest)
  t.deepEqual(network.stacks, ['netplan', 'ifupdown', 'systemd-networkd', 'networkmanager'])
  t.deepEqual(network.addresses.toSorted(), ['10.0.0.5/24', '10.9.8.7/24', '172.16.0.9/16', '192.168.1.5/24'])
  t.deepEqual(network.interfaces.toSorted(), ['enp1s0', 'ens3', 'eth0', 'eth7'])
  t.deepEqual(network.macs, ['52:54:00:ab:cd:01'])
})

test('inspectServices() tells units, init scripts and what BusyBox runs', async (t) => {
  const guest = memoryGuest({
    ...wants('nginx.service'),
    ...wants('getty@tty1.service'),
    '/etc/systemd/system/multi-user.target.wants/01-app2.service': {
      linksTo: '/etc/systemd/system/app2.service',
    },
    '/lib/systemd/system/nginx.service': unit('ExecStart=/usr/sbin/nginx'),
    '/etc/rc2.d/S01app': '#!/bin/sh\n',
    '/etc/rc2.d/S02nginx': '#!/bin/sh\n',
    '/etc/inittab': '::respawn:/usr/sbin/httpd -f -p 8080\n',
  })
  t.deepEqual(
    (await inspectServices(guest)).map(({ name }) => name),
    ['app2.service', 'nginx.service', 'app', 'inittab'],
  )
})

test('inspectListeners() tells ports of settings, sockets, commands and defaults', async (t) => {
  const guest = memoryGuest({
    ...wants('nginx.service'),
    ...wants('postgresql.service'),
    ...wants('redis-server.service'),
    ...wants('ssh.service'),
    ...wants('app.service'),
    ...wants('echo.socket'),
    '/etc/nginx/sites-enabled/default':
      'server {\n  listen 80 default_server;\n  listen [::]:443 ssl;\n  # listen 81;\n}\n',
    '/etc/postgresql/15/main/postgresql.conf': "listen_addresses = '10.0.0.5'\nport = 5433\n",
    '/etc/redis/redis.conf': 'bind 127.0.0.1\nport 6380\n',
    '/etc/ssh/sshd_config': '#Port 2222\n',
    '/lib/systemd/system/app.service': unit('ExecStart=/opt/app --port 3000'),
    '/etc/systemd/system/app.service.d/more.conf': unit('Environment=ADMIN_PORT=3001'),
    '/lib/systemd/system/echo.socket': '[Socket]\nListenStream=7\nListenDatagram=127.0.0.1:7\n',
    '/etc/inittab': '::respawn:/usr/sbin/httpd -f -h /www -p 8080\n',
  })
  const listeners = await inspectListeners(guest, await inspectServices(guest))
  t.deepEqual(
    listeners
      .map(({ service, protocol, address = '', port }) => `${service} ${protocol} ${address}:${port}`)
      .toSorted(),
    [
      'app.service tcp :3000',
      'app.service tcp :3001',
      'echo.socket tcp :7',
      'echo.socket udp 127.0.0.1:7',
      'inittab tcp :8080',
      'nginx tcp :443',
      'nginx tcp :80',
      'postgresql tcp 10.0.0.5:5433',
      'redis tcp 127.0.0.1:6380',
      'ssh tcp :22',
    ],
  )
})

test('inspectReferences() looks through settings, and not through the system', async (t) => {
  const guest = memoryGuest({
    '/etc/app.env': 'DATABASE_URL=postgres://db.lan/shop\n',
    '/etc/app/deep/config.yaml': 'cache: redis://cache.lan\n',
    '/etc/again': { linksTo: 'app.env' },
    '/etc/network/interfaces': 'iface eth0 inet static\n  address 10.0.2.15\n',
    '/etc/apt/sources.list': 'deb https://deb.debian.org/debian bookworm main\n',
    '/opt/app/.env': 'S3_BUCKET=photos\n',
    '/opt/app/main.js': 'fetch("http://never.lan")\n',
    '/srv/node_modules/x/config.json': '"url": "http://never.lan"',
    '/etc/binary': Buffer.from('\0http://never.lan'),
  })
  const { references, notes } = await inspectReferences(guest)
  t.deepEqual(references.map(({ path, key, value }) => `${path} ${key} ${value}`).toSorted(), [
    '/etc/app.env DATABASE_URL postgres://db.lan/shop',
    '/etc/app/deep/config.yaml cache redis://cache.lan',
    '/opt/app/.env S3_BUCKET photos',
  ])
  t.deepEqual(notes, [])
})

test('inspectReferences() stops at its bounds, and says so', async (t) => {
  const files = Object.fromEntries(
    Array.from({ length: 400 }, (_, index) => [`/etc/app/${index}.env`, `A_URL=http://h${index}.lan/\n`]),
  )
  const { references, notes } = await inspectReferences(memoryGuest(files))
  t.is(references.length, 256)
  t.is(notes.length, 1)
})

test('inspection of large files of almost nothing ends', async (t) => {
  const texts = ['\n', ' ', 'port ', 'listen\n', '--port ', 'httpd ', 'address ', '- ', 'Name=', 'a:', '=\n']
  for (const piece of texts) {
    const text = piece.repeat(Math.floor(250_000 / piece.length))
    const guest = memoryGuest({
      ...wants('nginx.service'),
      ...wants('app.service'),
      '/etc/os-release': text,
      '/etc/hostname': text,
      '/etc/network/interfaces': text,
      '/etc/nginx/nginx.conf': text,
      '/lib/systemd/system/app.service': text,
      '/etc/app.conf': text,
    })
    await inspectSystem(guest)
    await inspectNetwork(guest)
    await inspectListeners(guest, await inspectServices(guest))
    await inspectReferences(guest)
  }
  t.pass()
})
