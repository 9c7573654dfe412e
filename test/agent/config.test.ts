import { join } from 'node:path'
import test from 'ava'
import { loadConfig, parseConfig, sampleConfig } from '../../agent/config.ts'
import { nearest } from '../../agent/toml-table.ts'
import { FluidError } from '../../protocol/errors.ts'
import { tempDir } from '../helpers/temp-dir.ts'

test('parseConfig() fills every default', (t) => {
  t.deepEqual(parseConfig(''), {
    name: 'fluidcloud',
    listen: ['/ip4/0.0.0.0/tcp/4001', '/ip6/::/tcp/4001'],
    announce: [],
    dataPort: 4002,
    dataHost: undefined,
    portMapping: false,
    webrtc: false,
    stunPort: 4003,
    mdns: true,
    bootstrap: [],
    brokers: [],
    directory: false,
    relay: false,
    relayFor: 'paired',
    relayQuota: { bytes: 16 * 2 ** 30, peerBytes: 4 * 2 ** 30, timeMs: 7_200_000, reservations: 16 },
    relays: [],
    relaysFrom: 'paired',
    allowRelay: false,
    pairingRequests: true,
    fileMode: 0o600,
    limits: { jobs: 8, lanes: 4, bandwidth: undefined },
    log: { level: 'info' },
    clouds: {},
    migrators: { folder: '/etc/fluidcloud/migrators', allow: [], stores: [] },
  })
})

test('parseConfig() serves the directory when first contacts are named, unless told not to', (t) => {
  const bootstrap = ['/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWPVXFYaYn5UFMwj7LDNFi28unWZMZqiZvL2jdmmZEvES8']
  t.true(parseConfig('', { bootstrap }).directory)
  t.false(parseConfig('directory = false', { bootstrap }).directory)
  t.true(parseConfig('directory = true').directory)
})

test('parseConfig() reads every key', (t) => {
  const text = `
    name = "alpha"
    listen = ["/ip4/127.0.0.1/tcp/0"]
    announce = ["/dns4/agent.example.org/tcp/4001"]
    data_port = 0
    data_host = "agent.example.org"
    mdns = false
    bootstrap = ["/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWPVXFYaYn5UFMwj7LDNFi28unWZMZqiZvL2jdmmZEvES8"]
    brokers = ["/ip4/10.0.0.2/tcp/4001/p2p/12D3KooWPVXFYaYn5UFMwj7LDNFi28unWZMZqiZvL2jdmmZEvES8"]
    pairing_requests = false
    file_mode = "0640"
    relay = true
    relay_for = "all"
    relays = ["/ip4/10.0.0.2/tcp/4001/p2p/12D3KooWPVXFYaYn5UFMwj7LDNFi28unWZMZqiZvL2jdmmZEvES8"]
    allow_relay = true
    [relay_quota]
    bytes = "1GiB"
    time = "10m"
    reservations = 2
    [limits]
    jobs = 2
    lanes = 16
    bandwidth = "1Gbit/s"
    [log]
    level = "debug"`
  const config = parseConfig(text)
  t.like(config, {
    name: 'alpha',
    dataPort: 0,
    dataHost: 'agent.example.org',
    mdns: false,
    directory: true,
    relay: true,
    relayFor: 'all',
    relayQuota: { bytes: 2 ** 30, timeMs: 600_000, reservations: 2 },
    allowRelay: true,
    pairingRequests: false,
    fileMode: 0o640,
  })
  t.deepEqual(config.limits, { jobs: 2, lanes: 16, bandwidth: 125_000_000 })
  t.is(config.log.level, 'debug')
})

test('parseConfig() reads clouds that are named, with what they need', (t) => {
  const text = `
    [clouds.qemu]
    machines = "/m/"
    [clouds.libvirt]
    [clouds.local]
    machines = "/s"
    programs = ["/usr/local/bin/shop"]`
  t.deepEqual(parseConfig(text).clouds, {
    qemu: { machines: '/m/', accel: 'tcg', bridges: [] },
    libvirt: { uri: 'qemu:///system', images: '/var/lib/libvirt/images', accel: 'tcg' },
    local: { machines: '/s', programs: ['/usr/local/bin/shop'] },
  })
})

test('parseConfig() lets flags win over the file', (t) => {
  const flags = { listen: ['/ip4/127.0.0.1/tcp/1'], dataPort: 7, mdns: false, logLevel: 'warn' }
  const config = parseConfig('data_port = 5\nmdns = true\n[log]\nlevel = "info"', flags)
  t.like(config, { listen: flags.listen, dataPort: 7, mdns: false, log: { level: 'warn' } })
})

test('sampleConfig() says what the defaults are', (t) => {
  const plain = sampleConfig('alpha')
  t.deepEqual(parseConfig(plain), parseConfig('name = "alpha"'))
  const uncommented = plain.replace(/^# (\w+ = )/gm, '$1')
  const { dataHost, limits, ...rest } = parseConfig(uncommented)
  const { dataHost: _, limits: defaults, ...expected } = parseConfig('name = "alpha"')
  t.deepEqual(rest, expected)
  t.is(dataHost, 'agent.example.org')
  t.like(limits, { jobs: defaults.jobs, lanes: defaults.lanes, bandwidth: 125_000_000 })
})

const refuses = test.macro({
  exec: (t, text: string, message: RegExp, hint?: RegExp) => {
    const error = t.throws(() => parseConfig(text), { instanceOf: FluidError })
    t.is(error.code, 'CONFIG_INVALID')
    t.regex(error.message, message)
    if (hint) t.regex(error.hint, hint)
  },
  title: (_, text) => `parseConfig() refuses ${JSON.stringify(text)}`,
})

test(
  refuses,
  '[migrators]\nallow = ["../x@1"]',
  /migrators\.allow is .* a list of names with their major version/,
)
test(
  refuses,
  '[migrators]\nstores = ["store.example:9000"]',
  /migrators\.stores is .* an address and its port/,
)
test(refuses, '[migrators]\nfolder = "x"', /migrators\.folder is "x", which is not an absolute path/)
test(refuses, 'lisen = []', /Unknown key lisen/, /Did you mean listen\?/)
test(refuses, 'data-port = 1', /Unknown key data-port/, /Did you mean data_port\?/)
test(refuses, '[limits]\nlane = 2', /Unknown key limits\.lane/, /Did you mean limits\.lanes\?/)
test(refuses, 'frobnicate = 1', /Unknown key frobnicate/, /Known keys: name, listen/)
test(refuses, 'listen = "x"', /listen is "x", which is not a list/)
test(refuses, 'listen = ["/ip4/300.0.0.1/tcp/1"]', /listen/)
test(refuses, 'bootstrap = ["/ip4/10.0.0.1/tcp/1"]', /bootstrap.*p2p/)
test(refuses, 'data_port = 65536', /data_port is 65536/)
test(refuses, 'data_host = "a b"', /data_host/)
test(refuses, 'file_mode = 0o640', /file_mode is 416, which is not the permissions/)
test(refuses, 'file_mode = "0400"', /file_mode/)
test(refuses, 'file_mode = "0755"', /file_mode/)
test(refuses, 'file_mode = "0666"', /file_mode/)
test(refuses, 'name = "12D3KooWPVXF"', /name/)
test(refuses, 'mdns = "yes"', /mdns is "yes", which is not true or false/)
test(refuses, 'limits = 3', /limits is not a table/)
test(refuses, '[limits]\nlanes = 65', /limits\.lanes is 65/)
test(refuses, '[limits]\nbandwidth = 5', /limits\.bandwidth is 5/)
test(refuses, '[limits]\nbandwidth = "5 parsecs"', /limits\.bandwidth/)
test(refuses, '[log]\nlevel = "loud"', /log\.level/)
test(refuses, '[clouds.qmu]\nmachines = "/m"', /Unknown key clouds\.qmu/, /clouds\.qemu\?/)
test(refuses, '[clouds.qemu]', /clouds\.qemu\.machines.*absolute path/)
test(refuses, '[clouds.qemu]\nmachines = "m"', /clouds\.qemu\.machines is "m"/)
test(refuses, '[clouds.qemu]\nmachines = "/m"\naccel = "xen"', /clouds\.qemu\.accel/)
test(refuses, '[clouds.qemu]\nmachines = "/m"\nbridges = ["../x"]', /clouds\.qemu\.bridges/)
test(refuses, '[clouds.local]\nmachines = "/m"\nprograms = ["sh"]', /clouds\.local\.programs/)
test(refuses, '[clouds.libvirt]\nuri = "x"', /clouds\.libvirt\.uri/)
test(refuses, '[clouds.libvirt]\nuri = "qemu+ssh://host/system"', /clouds\.libvirt\.uri.*this host/)
test(refuses, '[clouds.libvirt]\nimages = "x"', /clouds\.libvirt\.images/)
test(refuses, 'name =', /not valid TOML/)

test('nearest() suggests only what could be a slip', (t) => {
  t.is(nearest('bandwith', ['bandwidth', 'memory']), 'bandwidth')
  t.is(nearest('zzz', ['bandwidth', 'memory']), undefined)
})

test('loadConfig() takes a missing file for an empty one', async (t) => {
  t.deepEqual(await loadConfig(join(await tempDir(t), 'config.toml')), parseConfig(''))
})
