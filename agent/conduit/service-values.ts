/** Values of service.toml, each of its kind. */
import { MACHINE_NAME, type PortForward } from '../../protocol/machine.ts'
import { amount, listOf } from '../toml-readers.ts'
import { type Reader, Wanted } from '../toml-table.ts'
import { parseDuration, parseSize } from '../units.ts'

type Table = Record<string, unknown>

const MAX_STEPS = 16
const MAX_FORWARDS = 64

/** A printable text of 1 to `most` characters. */
export function text(most: number): Reader<string> {
  return (value) =>
    typeof value === 'string' && value.length > 0 && value.length <= most && /^[^\p{Cc}]+$/u.test(value)
      ? value
      : new Wanted(`a text of 1 to ${most} characters`)
}

export const machineName: Reader<string> = (value) =>
  typeof value === 'string' && MACHINE_NAME.test(value)
    ? value
    : new Wanted('a name of a machine: 1 to 63 letters, digits, dots, dashes and underscores')

export const version: Reader<string> = (value) =>
  typeof value === 'string' && /^\d+\.\d+\.\d+$/.test(value) ? value : new Wanted('a version such as "1.0.0"')

export function oneOf<T extends string>(words: readonly T[]): Reader<T> {
  return (value) =>
    words.find((word) => word === value) ?? new Wanted(`one of ${words.map((w) => `"${w}"`).join(', ')}`)
}

export const size: Reader<number> = amount(parseSize, 'a quoted size such as "2GiB"')

const duration = amount(parseDuration, 'a quoted duration such as "10s"')

export function durationMs(min: number, max: number): Reader<number> {
  return (value) => {
    const ms = duration(value)
    return typeof ms !== 'number' || (ms >= min && ms <= max)
      ? ms
      : new Wanted(`a duration from ${min} ms to ${max} ms`)
  }
}

/** Any table; whoever gets it checks what is in it. */
export const table: Reader<Table> = (value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
    ? (value as Table)
    : new Wanted('a table')

export const stepList: Reader<Table[]> = listOf(table, MAX_STEPS)

export const httpUrl: Reader<string> = (value) => {
  const wanted = new Wanted('an address such as "http://127.0.0.1:8080/health", without user and password')
  if (typeof value !== 'string' || value.length > 2048 || !URL.canParse(value)) return wanted
  const { protocol, username, password } = new URL(value)
  return (protocol === 'http:' || protocol === 'https:') && username === '' && password === ''
    ? value
    : wanted
}

export const hostPort: Reader<{ host: string; port: number }> = (value) => {
  const [, ip6, name, port] = /^(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(String(value)) ?? []
  return typeof value === 'string' && isPort(port)
    ? { host: ip6 ?? name, port: Number(port) }
    : new Wanted('a host and a port such as "127.0.0.1:5432"')
}

/** `ADDRESS:HOSTPORT:GUESTPORT`, or without the address, which is then loopback's. */
const forward: Reader<PortForward> = (value) => {
  const [, address, hostPort_, guestPort] =
    /^(?:(\d{1,3}(?:\.\d{1,3}){3}):)?(\d{1,5}):(\d{1,5})$/.exec(String(value)) ?? []
  return typeof value === 'string' && isPort(hostPort_) && isPort(guestPort)
    ? { hostAddress: address ?? '127.0.0.1', hostPort: Number(hostPort_), guestPort: Number(guestPort) }
    : new Wanted('a forwarded port such as "127.0.0.1:8080:80", the host\'s first')
}

export const forwards: Reader<PortForward[]> = listOf(forward, MAX_FORWARDS)

function isPort(digits: string | undefined): boolean {
  return digits !== undefined && Number(digits) >= 1 && Number(digits) <= 65_535
}
