/** The router of this host's own network: its default gateway, of IPv4. Nobody else is ever asked to forward ports. */
import { readFile } from 'node:fs/promises'

/** `/proc/net/route` has addresses as the host's words in hexadecimal, which are little-endian wherever Node runs. */
export function parseRoutes(text: string): string | undefined {
  const routes = text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, gateway]) => destination === '00000000' && /^[0-9A-F]{8}$/i.test(gateway ?? ''))
    .filter(([, , gateway]) => gateway !== '00000000')
  const [best] = routes.toSorted((a, b) => Number(a[6]) - Number(b[6]))
  if (!best) return undefined
  return Buffer.from(best[2], 'hex').toReversed().join('.')
}

/** Undefined where there is none, or on other systems than Linux. */
export async function defaultGateway(): Promise<string | undefined> {
  return parseRoutes(await readFile('/proc/net/route', 'utf8').catch(() => ''))
}
