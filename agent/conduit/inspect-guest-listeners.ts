/** Ports that a guest's services are configured to listen on, as their settings and the commands of their units say. */
import { MAX_GUEST_FINDINGS } from '../../protocol/limits.ts'
import type { GuestFiles } from '../../transfer/guest-files.ts'
import { namesIn, textOf } from './guest-lines.ts'
import type { ReportedListener } from './guest-report.ts'
import type { FoundService } from './inspect-guest-services.ts'

/** A server that is known by name: where it is configured, which lines say a port, and what it takes unless told. */
interface KnownServer {
  readonly service: RegExp
  readonly name: string
  /** Files; one that ends with `/` is a folder, and `*` a folder between. */
  readonly files: readonly string[]
  readonly port: RegExp
  readonly address?: RegExp
  readonly otherwise?: number
}

const ADDRESS_AND_PORT = String.raw`(?:(?<address>\[[0-9a-f:]*\]|[\w.*-]+):)?(?<port>\d{1,5})`

const KNOWN: readonly KnownServer[] = [
  {
    name: 'ssh',
    service: /^(?:sshd?|dropbear)(?:\.service|\.socket)?$/,
    files: ['/etc/ssh/sshd_config', '/etc/ssh/sshd_config.d/'],
    port: /^[ \t]*Port\s+(?<port>\d{1,5})\s*$/gim,
    address: /^[ \t]*ListenAddress\s+(?<address>[\w.]+)\s*$/im,
    otherwise: 22,
  },
  {
    name: 'nginx',
    service: /^nginx(?:\.service)?$/,
    files: ['/etc/nginx/nginx.conf', '/etc/nginx/conf.d/', '/etc/nginx/sites-enabled/'],
    port: new RegExp(String.raw`^[ \t]*listen\s+${ADDRESS_AND_PORT}(?=[\s;])`, 'gim'),
  },
  {
    name: 'apache',
    service: /^(?:apache2|httpd)(?:\.service)?$/,
    files: [
      '/etc/apache2/ports.conf',
      '/etc/apache2/sites-enabled/',
      '/etc/httpd/conf/httpd.conf',
      '/etc/httpd/conf.d/',
    ],
    port: new RegExp(String.raw`^[ \t]*Listen\s+${ADDRESS_AND_PORT}(?=\s|$)`, 'gim'),
  },
  {
    name: 'postgresql',
    service: /^postgres(?:ql)?(?:@[^.]*)?(?:\.service)?$/,
    files: ['/etc/postgresql/*/main/postgresql.conf', '/var/lib/pgsql/data/postgresql.conf'],
    port: /^[ \t]*port\s*=\s*(?<port>\d{1,5})/gim,
    address: /^[ \t]*listen_addresses\s*=\s*'(?<address>[^']{1,200})'/im,
    otherwise: 5432,
  },
  {
    name: 'redis',
    service: /^redis(?:-server)?(?:@[^.]*)?(?:\.service)?$/,
    files: ['/etc/redis/redis.conf', '/etc/redis.conf', '/etc/redis/'],
    port: /^[ \t]*port\s+(?<port>\d{1,5})\s*$/gim,
    address: /^[ \t]*bind\s+(?<address>[^\n]{1,200})$/im,
    otherwise: 6379,
  },
  {
    name: 'mysql',
    service: /^(?:mysqld?|mariadb)(?:\.service)?$/,
    files: [
      '/etc/my.cnf',
      '/etc/mysql/my.cnf',
      '/etc/mysql/mysql.conf.d/',
      '/etc/mysql/mariadb.conf.d/',
      '/etc/my.cnf.d/',
    ],
    port: /^[ \t]*port\s*=\s*(?<port>\d{1,5})\s*$/gim,
    address: /^[ \t]*bind-address\s*=\s*(?<address>[\w.:*]{1,64})/im,
    otherwise: 3306,
  },
  {
    name: 'haproxy',
    service: /^haproxy(?:\.service)?$/,
    files: ['/etc/haproxy/haproxy.cfg'],
    port: new RegExp(String.raw`^[ \t]*bind\s+${ADDRESS_AND_PORT}(?=[\s,]|$)`, 'gim'),
  },
]

/** In the command of any other service: --port 80, --listen=:80, BusyBox's httpd -p 80, python3 -m http.server 80. */
const COMMAND = new RegExp(
  [
    String.raw`--?(?:port|listen|bind|http-address|addr|address|listen-address|web\.listen-address)(?:=|\s+)["']?${ADDRESS_AND_PORT.replaceAll('?<', '?<a_')}`,
    String.raw`\bhttpd\s[^\n;&|]{0,200}?-p\s*(?:(?<b_address>[\w.*-]+):)?(?<b_port>\d{1,5})`,
    String.raw`http\.server\s+(?<c_port>\d{1,5})`,
    String.raw`^Environment=["']?(?:\w{1,32}_)?PORT=(?<d_port>\d{1,5})`,
    String.raw`\b(?:tcpsvd|udpsvd)\s[^\n;&|]{0,200}?(?<e_address>[\d.]+)\s+(?<e_port>\d{1,5})\b`,
    String.raw`\b(?:redis-server|dropbear|telnetd)\s[^\n;&|]{0,200}?-(?:-port|p)\s+(?<f_port>\d{1,5})`,
  ].join('|'),
  'gim',
)
const SOCKET = /^Listen(Stream|Datagram)\s*=\s*(?:(\[[0-9a-f:]*\]|[\d.]+):)?(\d{1,5})\s*$/gim
const MAX_FILES = 32

export async function inspectListeners(
  guest: GuestFiles,
  services: readonly FoundService[],
): Promise<ReportedListener[]> {
  const found: ReportedListener[] = []
  for (const server of KNOWN) {
    if (services.some(({ name }) => server.service.test(name))) found.push(...(await ofServer(guest, server)))
  }
  for (const service of services) {
    if (service.name.endsWith('.socket')) found.push(...ofSocket(service))
    else if (!KNOWN.some((server) => server.service.test(service.name))) found.push(...ofCommand(service))
  }
  const seen = new Set<string>()
  return found
    .filter(({ port, protocol, address, service }) => {
      const key = `${protocol} ${address} ${port} ${service}`
      const isNew = !seen.has(key) && port > 0 && port < 65_536
      seen.add(key)
      return isNew
    })
    .slice(0, MAX_GUEST_FINDINGS)
}

async function ofServer(guest: GuestFiles, server: KnownServer): Promise<ReportedListener[]> {
  const found: ReportedListener[] = []
  let common: string | undefined
  for (const path of await filesOf(guest, server.files)) {
    const text = await textOf(guest, path)
    if (text === undefined) continue
    const address = server.address?.exec(text)?.groups?.address
    common ??= address
    for (const { groups } of text.matchAll(server.port))
      found.push(listener(server.name, Number(groups?.port), groups?.address ?? address, path))
  }
  if (found.length === 0 && server.otherwise !== undefined)
    found.push(listener(server.name, server.otherwise, common))
  return found
}

function ofSocket({ name, text, path }: FoundService): ReportedListener[] {
  return Array.from(text.matchAll(SOCKET), ([, kind, address, port]) => ({
    ...listener(name, Number(port), address, path),
    protocol: kind.toLowerCase() === 'stream' ? 'tcp' : 'udp',
  }))
}

function ofCommand({ name, text, path }: FoundService): ReportedListener[] {
  const code = text
    .split('\n')
    .filter((line) => line.length < 4096 && !/^[ \t]*[#;]/.test(line))
    .join('\n')
  return Array.from(code.matchAll(COMMAND), ({ groups = {} }) => {
    const value = (ending: string) =>
      Object.entries(groups).find(([key, said]) => key.endsWith(ending) && said !== undefined)?.[1]
    return listener(name, Number(value('port')), value('address'), path)
  })
}

function listener(service: string, port: number, said?: string, path?: string): ReportedListener {
  const address = said?.trim().replaceAll(/[[\]]/g, '')
  const all = !address || ['*', '::', '0.0.0.0'].includes(address)
  return {
    port,
    protocol: 'tcp',
    service,
    ...(!all && { address: address.slice(0, 64) }),
    ...(path !== undefined && { path }),
  }
}

async function filesOf(guest: GuestFiles, places: readonly string[]): Promise<string[]> {
  const files: string[] = []
  for (const place of places) {
    const [before, after] = place.split('*')
    if (after !== undefined)
      for (const name of await namesIn(guest, before.slice(0, -1))) files.push(`${before}${name}${after}`)
    else if (place.endsWith('/'))
      for (const name of await namesIn(guest, place.slice(0, -1))) files.push(`${place}${name}`)
    else files.push(place)
  }
  return [...new Set(files)].slice(0, MAX_FILES)
}
