/**
 * What a configuration file says its service talks to: addresses, hosts with ports, object stores. Pure, and line by line,
 * so that one reader serves env files, ini, json, yaml, toml and the rest. What is found is told without passwords, keys
 * and query strings. Guests are hostile: every pattern is linear in a line, and long lines are left out.
 */
import { HIDDEN } from '../../transfer/migrators/hide-secrets.ts'
import type { ReferenceKind, ReportedReference } from './guest-report.ts'

type Found = Omit<ReportedReference, 'path' | 'key'>

/** Longer lines are data, not settings. */
const MAX_LINE = 2048
const MAX_SHOWN = 256
const MAX_PER_LINE = 16

const SCHEMES: Readonly<Record<string, ReferenceKind>> = {
  postgres: 'postgres',
  postgresql: 'postgres',
  mysql: 'mysql',
  mariadb: 'mysql',
  mongodb: 'mongodb',
  redis: 'redis',
  rediss: 'redis',
  amqp: 'amqp',
  amqps: 'amqp',
  kafka: 'kafka',
  http: 'http',
  https: 'http',
  s3: 'object-store',
}
/** Ports that tell what is behind them. */
const PORTS: Readonly<Record<number, ReferenceKind>> = {
  5432: 'postgres',
  3306: 'mysql',
  6379: 'redis',
  27017: 'mongodb',
  5672: 'amqp',
  9092: 'kafka',
}
const NAMES: readonly [RegExp, ReferenceKind][] = [
  [/postgres|^pg|psql/i, 'postgres'],
  [/mysql|maria/i, 'mysql'],
  [/redis/i, 'redis'],
  [/mongo/i, 'mongodb'],
  [/amqp|rabbit/i, 'amqp'],
  [/kafka|bootstrap/i, 'kafka'],
]

const URL = /(?<![a-z0-9])([a-z][a-z0-9]{1,15})(?:\+[a-z0-9]{1,15})?:\/\/([^\s"'<>`,;()[\]{}\\|]{1,1024})/gi
const HOST_PORT = /(?<![\w.:/@%-])([a-z0-9][a-z0-9.-]{0,252}):(\d{2,5})(?![\w:-]|\.\w)/gi
const SETTING =
  /^\s*(?:[-*]\s+)?(?:export\s+|Environment=["']?|set\s+|env\s+)?["']?([A-Za-z_][\w.-]{0,127})["']?\s*(?:[:=](?!\/\/)|\s)\s*(.*)$/
const LIBPQ = /(?<![\w.])(host|hostaddr|port|dbname)\s*=\s*'?([\w.-]{1,253})/g
const COMMENT = /^\s*(?:#|;|\/\/|\/\*|\*|--|<!--|"_?comment")/
const STORE_HOST =
  /(?:^|[.-])s3(?:[.-]|$)|minio|storage\.googleapis|blob\.core\.windows|digitaloceanspaces|r2\.cloudflarestorage|objectstor|swift/i
const STORE_KEY = /(?:^|[_.-])(?:s3|aws|minio|bucket|object_?stor(?:e|age))(?:$|[_.-])|bucket/i
const STORE_SECRET = /secret|access_?key|token|password|credential/i
const HOST_KEY = /^(|.*[_.-])(?:host|hostname|server|address)$/i
const PORT_VALUE = /^["']?(\d{1,5})["']?\s*[,;]?\s*$/
const TALKS_TO =
  /host|server|addr|endpoint|upstream|broker|url|uri|backend|proxy|peer|dsn|connect|master|primary|replica/i

/** Everything that `text` refers to, in order. `path` is where the file lies. */
export function findReferences(path: string, text: string): ReportedReference[] {
  const found: ReportedReference[] = []
  const ports = new Map<string, number>()
  let section = ''
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.length > MAX_LINE || line.trim() === '' || COMMENT.test(line)) continue
    const heading = /^\s*\[{1,2}([\w.\- "']{1,100})\]{1,2}\s*(?:[#;].*)?$/.exec(line)
    if (heading) {
      section = heading[1]
      continue
    }
    const [, name, value = ''] = SETTING.exec(line) ?? []
    const where = name === undefined ? `line ${index + 1}` : section === '' ? name : `${section}.${name}`
    const [, port] = PORT_VALUE.exec(value) ?? []
    if (port && /port$/i.test(where)) ports.set(where.replace(/port$/i, '').toLowerCase(), Number(port))
    for (const reference of inLine(line, name ?? '', value, section))
      found.push({ ...reference, path, key: where })
  }
  return withPorts(found, ports)
}

/** DB_HOST and DB_PORT are one reference. */
function withPorts(
  found: readonly ReportedReference[],
  ports: ReadonlyMap<string, number>,
): ReportedReference[] {
  return found.map((reference) => {
    const { key, host, kind } = reference
    const port = host === undefined ? undefined : ports.get(key.replace(HOST_KEY, '$1').toLowerCase())
    if (port === undefined || reference.port !== undefined || !HOST_KEY.test(key)) return reference
    return { ...reference, port, kind: kind === 'host' ? (PORTS[port] ?? kind) : kind }
  })
}

function inLine(line: string, name: string, value: string, section: string): Found[] {
  const found: Found[] = []
  let rest = line
  for (const [all, scheme, address] of line.matchAll(URL)) {
    const reference = ofUrl(scheme.toLowerCase(), address, name)
    if (reference) found.push(reference)
    rest = rest.replace(all, ' ')
  }
  if (found.length === 0) found.push(...ofLibpq(line))
  if (found.length === 0) {
    for (const [all, host, port] of rest.matchAll(HOST_PORT)) {
      const reference = ofHostPort(host, Number(port), name, section)
      if (reference) found.push({ ...reference, value: all })
    }
  }
  if (found.length === 0) found.push(...ofSetting(name, value, section))
  return found.slice(0, MAX_PER_LINE)
}

/** scheme://user:password@host:port/name?query, of which neither password nor query is told. */
function ofUrl(scheme: string, address: string, name: string): Found | undefined {
  const kind = SCHEMES[scheme]
  if (!kind) return undefined
  const [authority, ...pathParts] = address.split(/[?#]/)[0].split('/')
  const at = authority.lastIndexOf('@')
  const [user, password] = at < 0 ? [] : authority.slice(0, at).split(':')
  const [first] = authority.slice(at + 1).split(',')
  const [, host, port] = /^([\w.-]*?)(?::(\d{1,5}))?$/.exec(first) ?? []
  if (!host || isLocal(host)) return undefined
  const path = pathParts[0] ?? ''
  const who = user === undefined ? '' : `${user}${password === undefined ? '' : `:${HIDDEN}`}@`
  const isStore =
    kind === 'object-store' || (kind === 'http' && (STORE_HOST.test(host) || STORE_KEY.test(name)))
  const shown = kind === 'http' && !isStore ? pathParts.join('/') : path
  const facts: Found = {
    kind: isStore ? 'object-store' : kind,
    value: short(`${scheme}://${who}${host}${port ? `:${port}` : ''}${shown ? `/${shown}` : ''}`),
    ...(scheme !== 's3' && { host: host.slice(0, 253) }),
    ...(port && { port: Number(port) }),
  }
  const bucket = isStore ? bucketOf(scheme, host, path) : kind === 'http' ? undefined : path
  return bucket ? { ...facts, name: short(bucket) } : facts
}

/** s3://bucket/..., https://bucket.s3.region.../ and https://s3.region.../bucket. */
function bucketOf(scheme: string, host: string, path: string): string | undefined {
  if (scheme === 's3') return host
  return /^([\w.-]+?)\.s3[.-]/.exec(host)?.[1] ?? (path || undefined)
}

function ofLibpq(line: string): Found[] {
  const said = new Map(Array.from(line.matchAll(LIBPQ), ([, key, value]) => [key, value]))
  const host = said.get('host') ?? said.get('hostaddr')
  const port = said.get('port')
  const name = said.get('dbname')
  if (!host || isLocal(host) || (!port && !name)) return []
  const kind = port ? (PORTS[Number(port)] ?? 'postgres') : 'postgres'
  const value = [`host=${host}`, port && `port=${port}`, name && `dbname=${name}`].filter(Boolean).join(' ')
  return [{ kind, value: short(value), host, ...(port && { port: Number(port) }), ...(name && { name }) }]
}

function ofHostPort(
  host: string,
  port: number,
  name: string,
  section: string,
): Omit<Found, 'value'> | undefined {
  const isAddress = /^\d{1,3}(?:\.\d{1,3}){3}$/.test(host)
  const isName = /[a-z]/i.test(host) && !host.includes('..') && !/[.-]$/.test(host)
  if (port < 1 || port > 65_535 || isLocal(host) || (!isAddress && !isName)) return undefined
  // A word and a number are often something else.
  if (!isAddress && !PORTS[port] && !TALKS_TO.test(name) && kindOf(`${section} ${name}`) === undefined)
    return undefined
  return { kind: PORTS[port] ?? kindOf(`${section} ${name}`) ?? 'host', host, port }
}

/** One setting that is a host, a bucket, or a key of an object store. */
function ofSetting(name: string, said: string, section: string): Found[] {
  const value = said
    .trim()
    .replace(/[,;]\s*$/, '')
    .replace(/^(["'])(.*)\1$/, '$2')
  if (value === '' || /^[[{|>]/.test(value)) return []
  if (STORE_KEY.test(name)) {
    if (STORE_SECRET.test(name)) return [{ kind: 'object-store', value: HIDDEN }]
    const isBucket = /bucket/i.test(name) && /^[\w.-]{3,63}$/.test(value)
    if (isBucket) return [{ kind: 'object-store', value, name: value }]
    if (/region|endpoint/i.test(name) && /^[\w.:-]+$/.test(value))
      return [{ kind: 'object-store', value: short(value) }]
    return []
  }
  if (!HOST_KEY.test(name) || !/^[\w.-]{1,253}$/.test(value)) return []
  const kind = kindOf(`${section} ${name}`)
  // `host` alone is as often this machine's own name: a kind or a dot has to say that it is another's.
  const isElse = kind !== undefined || /[_.-]host$/i.test(name) || /^\d+(?:\.\d+){3}$/.test(value)
  if (!isElse || isLocal(value) || !/[a-z0-9]/i.test(value) || /^\d+$/.test(value)) return []
  return [{ kind: kind ?? 'host', value, host: value }]
}

function kindOf(words: string): ReferenceKind | undefined {
  return NAMES.find(([pattern]) => words.split(' ').some((word) => pattern.test(word)))?.[1]
}

/** What is on the machine itself moves with it. */
function isLocal(host: string): boolean {
  return /^(?:localhost(?:\.localdomain)?|127(?:\.\d+){3}|0\.0\.0\.0|255(?:\.\d+){3}|example\.(?:com|org|net)|.*\.example(?:\.\w+)?)$/i.test(
    host,
  )
}

function short(text: string): string {
  return text.replaceAll(/[\x00-\x1f\x7f-\x9f]/g, '').slice(0, MAX_SHOWN)
}
