/** NBD addresses: nbd://host:port/export and nbd+unix:///export?socket=/path, as in the NBD URI specification. */
import { FluidError } from '../../protocol/errors.ts'

const DEFAULT_PORT = 10809
/** Bytes of a string in the protocol. */
const MAX_EXPORT_BYTES = 4096

/** Where an NBD server listens and which of its volumes is meant. */
export interface NbdAddress {
  readonly socket: { readonly path: string } | { readonly host: string; readonly port: number }
  readonly exportName: string
  /** True when the volume is known to have been empty at first (`zeroed=1`): our own mark, for images we created. */
  readonly zeroed: boolean
}

/** True for the two forms of address that parseNbdUrl() takes. */
export function isNbdUrl(text: string): boolean {
  return /^nbd(\+unix)?:\/\//.test(text)
}

/** Parses an address. Throws USAGE when it is not one. */
export function parseNbdUrl(text: string): NbdAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !isNbdUrl(text))
    throw invalid(text, 'expected nbd://host:port/export or nbd+unix:///export?socket=/path')
  const exportName = decodeExport(url.pathname, text)
  const zeroed = url.searchParams.get('zeroed') === '1'
  if (url.protocol === 'nbd+unix:') {
    const path = url.searchParams.get('socket')
    if (!path?.startsWith('/')) throw invalid(text, 'expected ?socket= with an absolute path')
    return { socket: { path }, exportName, zeroed }
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  if (host === '') throw invalid(text, 'expected a host')
  return { socket: { host, port: url.port === '' ? DEFAULT_PORT : Number(url.port) }, exportName, zeroed }
}

/** The address of a volume behind a Unix socket. */
export function formatNbdUnixUrl(
  path: string,
  options: { exportName?: string; zeroed?: boolean } = {},
): string {
  const query = new URLSearchParams({ socket: path, ...(options.zeroed ? { zeroed: '1' } : {}) })
  return `nbd+unix:///${encodeURIComponent(options.exportName ?? '')}?${query}`
}

function decodeExport(pathname: string, text: string): string {
  let name: string
  try {
    name = decodeURIComponent(pathname.replace(/^\//, ''))
  } catch (cause) {
    throw invalid(text, 'its export name is not well encoded', cause)
  }
  if (Buffer.byteLength(name) > MAX_EXPORT_BYTES)
    throw invalid(text, `its export name is longer than ${MAX_EXPORT_BYTES} bytes`)
  return name
}

function invalid(text: string, why: string, cause?: unknown): FluidError {
  return new FluidError('USAGE', `Not an NBD address: ${text.slice(0, 200)} (${why})`, { cause })
}
