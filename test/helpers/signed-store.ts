/** A store of objects that checks AWS signatures, version 4, by the letter of its specification and with nothing of ours. */
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Owner } from './temp-dir.ts'

export interface SignedStore {
  readonly port: number
  /** Method, host and path of each request that was let in. */
  readonly asked: string[]
  /** Requests that were not. */
  readonly refused: number
}

const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** Objects by their path, such as /bucket/key; a bucket by its own. */
export async function signedStore(
  owner: Owner,
  keys: { readonly accessKey: string; readonly secretKey: string; readonly region: string },
  objects: Readonly<Record<string, string>>,
): Promise<SignedStore> {
  const store = { port: 0, asked: [] as string[], refused: 0 }
  const server = createServer((request, response) => {
    if (!isSigned(request, keys)) {
      store.refused++
      response.writeHead(403).end()
    } else {
      const at = `${request.headers.host?.split('.').length === 2 ? `/${request.headers.host.split('.')[0]}` : ''}${request.url}`
      store.asked.push(`${request.method} ${at}`)
      const object = objects[decodeURIComponent(at)]
      response.writeHead(object === undefined ? 404 : 200).end(object)
    }
  })
  server.listen(0, '127.0.0.1')
  owner.teardown(() => server.close())
  await once(server, 'listening')
  store.port = (server.address() as AddressInfo).port
  return store
}

function isSigned(
  { method, url, headers }: IncomingMessage,
  keys: { readonly accessKey: string; readonly secretKey: string; readonly region: string },
): boolean {
  const [, id, day, region, names, signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    ) ?? []
  if (id !== keys.accessKey || region !== keys.region || !names.split(';').includes('host')) return false
  const { pathname, searchParams } = new URL(url!, 'http://x')
  const canonical = [
    method,
    pathname,
    searchParams.toString(),
    ...names.split(';').map((name) => `${name}:${String(headers[name]).trim()}`),
    '',
    names,
    headers['x-amz-content-sha256'],
  ].join('\n')
  const scope = `${day}/${region}/s3/aws4_request`
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, sha256(canonical)].join('\n')
  const key = [day, region, 's3', 'aws4_request'].reduce<string | Buffer>(
    (from, part) => hmac(from, part),
    `AWS4${keys.secretKey}`,
  )
  return hmac(key, text).toString('hex') === signature
}
