/**
 * UPnP's Internet Gateway Device, versions 1 and 2: asks the default gateway to forward ports. Whoever else answers in
 * the local network is not listened to, and what the gateway says leads nowhere but to the gateway.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, isIP } from 'node:net'
import { DOMParser } from '@xmldom/xmldom'
import type { Forwarder } from './forwarder.ts'

const MULTICAST = '239.255.255.250'
const SSDP_PORT = 1900
/** A search may be lost; it is sent so often. */
const SEARCH_EVERY_MS = 500
const MAX_BODY_BYTES = 256 * 1024
const DEVICES = [1, 2].map((version) => `urn:schemas-upnp-org:device:InternetGatewayDevice:${version}`)
const SERVICE = /^urn:schemas-upnp-org:service:WAN(?:IP|PPP)Connection:[12]$/
/** Error codes of AddPortMapping. */
const CONFLICT = new Set([718, 729])
const ONLY_PERMANENT = 725
/** Ports that are tried beside the one wanted. */
const OTHER_PORTS = 4

interface Service {
  readonly type: string
  readonly control: URL
}

/** The router at `gateway`, if it answers a search; rejects when `signal` aborts before. */
export async function findUpnp(
  gateway: string,
  signal: AbortSignal,
  ssdpPort = SSDP_PORT,
): Promise<Forwarder> {
  const location = await search(gateway, ssdpPort, signal)
  const service = parseDescription(await load(location, {}, signal), location)
  if (!service) throw new Error('The router describes no connection to the outside')
  const inner = await ownAddress(location, signal)
  const call = (action: string, args: readonly (readonly [string, string | number])[], within: AbortSignal) =>
    soap(service, action, args, within)
  const common = (outer: number) =>
    [
      ['NewRemoteHost', ''],
      ['NewExternalPort', outer],
      ['NewProtocol', 'TCP'],
    ] as const

  async function add(port: number, outer: number, lifetimeS: number, within: AbortSignal): Promise<number> {
    const args = [
      ...common(outer),
      ['NewInternalPort', port],
      ['NewInternalClient', inner],
      ['NewEnabled', 1],
      ['NewPortMappingDescription', 'FluidCloud'],
    ] as const
    try {
      await call('AddPortMapping', [...args, ['NewLeaseDuration', lifetimeS]], within)
      return lifetimeS
    } catch (error) {
      if (lifetimeS === 0 || (error as UpnpError).code !== ONLY_PERMANENT) throw error
      return add(port, outer, 0, within)
    }
  }

  return {
    kind: 'UPnP',
    async externalHost(within) {
      const host = textOf(await call('GetExternalIPAddress', [], within), 'NewExternalIPAddress')
      if (isIP(host ?? '') !== 4) throw new Error('The router tells no address of its own')
      return host!
    },
    async forward(port, wanted, lifetimeS, within) {
      for (let tried = 0; ; tried++) {
        const outer = tried === 0 ? wanted : 1024 + Math.floor(Math.random() * 64_000)
        try {
          return { outer, lifetimeS: await add(port, outer, lifetimeS, within) }
        } catch (error) {
          if (!CONFLICT.has((error as UpnpError).code ?? 0) || tried >= OTHER_PORTS) throw error
        }
      }
    },
    remove: async (_port, outer, within) => void (await call('DeletePortMapping', common(outer), within)),
  }
}

class UpnpError extends Error {
  readonly code: number | undefined
  constructor(code: number | undefined, description: string | undefined) {
    super(`The router says no: ${code ?? ''} ${description ?? ''}`.trim())
    this.code = code
  }
}

/** Where the gateway keeps its description: a URL of its own. */
async function search(gateway: string, port: number, signal: AbortSignal): Promise<URL> {
  signal.throwIfAborted()
  const socket = createSocket('udp4')
  const { promise, resolve, reject } = Promise.withResolvers<URL>()
  const abort = () => reject(signal.reason as Error)
  const say = (): void => {
    for (const device of DEVICES)
      for (const host of [MULTICAST, gateway]) {
        const text = `M-SEARCH * HTTP/1.1\r\nHOST: ${MULTICAST}:${SSDP_PORT}\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ${device}\r\n\r\n`
        socket.send(text, port, host, () => {})
      }
  }
  let timer: NodeJS.Timeout | undefined
  try {
    signal.addEventListener('abort', abort, { once: true })
    socket.on('error', reject)
    socket.on('message', (answer, from) => {
      if (from.address !== gateway || answer.byteLength > 4096) return
      const text = answer.toString('latin1')
      if (!DEVICES.some((device) => text.includes(device))) return
      const [, said] = /^location:[ \t]*(\S+)[ \t]*$/im.exec(text) ?? []
      const location = said && URL.canParse(said) ? new URL(said) : undefined
      if (location?.protocol === 'http:' && location.hostname === gateway) resolve(location)
    })
    socket.bind(0)
    await once(socket, 'listening', { signal })
    say()
    timer = setInterval(say, SEARCH_EVERY_MS)
    return await promise
  } finally {
    clearInterval(timer)
    signal.removeEventListener('abort', abort)
    socket.close()
  }
}

/** The first service in a device's description that forwards ports; its address must be of the same host. */
export function parseDescription(xml: string, location: URL): Service | undefined {
  const document = parse(xml)
  for (const node of document.getElementsByTagName('service')) {
    const type = node.getElementsByTagName('serviceType')[0]?.textContent?.trim() ?? ''
    const path = node.getElementsByTagName('controlURL')[0]?.textContent?.trim() ?? ''
    if (!SERVICE.test(type) || !URL.canParse(path, location.href)) continue
    const control = new URL(path, location)
    if (control.protocol === 'http:' && control.hostname === location.hostname) return { type, control }
  }
  return undefined
}

async function soap(
  { type, control }: Service,
  action: string,
  args: readonly (readonly [string, string | number])[],
  signal: AbortSignal,
): Promise<string> {
  const body = args.map(([name, value]) => `<${name}>${value}</${name}>`).join('')
  return load(
    control,
    {
      method: 'POST',
      headers: { 'content-type': 'text/xml; charset="utf-8"', soapaction: `"${type}#${action}"` },
      body: `<?xml version="1.0"?>\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:${action} xmlns:u="${type}">${body}</u:${action}></s:Body></s:Envelope>\n`,
    },
    signal,
  )
}

/** What is there, at most MAX_BODY_BYTES of it; no redirects. Throws UpnpError when the router says no. */
async function load(url: URL, init: RequestInit, signal: AbortSignal): Promise<string> {
  const response = await fetch(url, { ...init, signal, redirect: 'error' })
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of response.body ?? []) {
    length += part.byteLength
    if (length > MAX_BODY_BYTES) throw new Error('The router says too much')
    parts.push(part)
  }
  const text = Buffer.concat(parts).toString('utf8')
  if (response.ok) return text
  throw new UpnpError(Number(textOf(text, 'errorCode')) || response.status, textOf(text, 'errorDescription'))
}

function textOf(xml: string, name: string): string | undefined {
  try {
    return parse(xml).getElementsByTagName(name)[0]?.textContent?.trim().slice(0, 200)
  } catch {
    return undefined
  }
}

/** Throws when it is not XML. Documents with a doctype are none of a router's. */
function parse(xml: string) {
  if (/<!DOCTYPE/i.test(xml)) throw new Error('The router describes itself with a doctype')
  const onError = (level: string, message: string) => {
    if (level !== 'warning') throw new Error(message)
  }
  try {
    return new DOMParser({ onError }).parseFromString(xml, 'text/xml')
  } catch (cause) {
    // The library's own is no Error.
    throw new Error('The router does not speak XML', { cause })
  }
}

/** This host's address as the router sees it. */
async function ownAddress(router: URL, signal: AbortSignal): Promise<string> {
  const socket = connect({ host: router.hostname, port: Number(router.port || 80), signal })
  try {
    await once(socket, 'connect', { signal })
    return socket.localAddress!
  } finally {
    socket.on('error', () => {})
    socket.destroy()
  }
}
