/**
 * Whether a bucket of an S3-compatible store can be reached with given credentials: a HEAD of the bucket and a GET of one
 * object, signed with AWS signature version 4. No credential, no answer and no header is ever part of what is thrown.
 */
import type { IncomingMessage } from 'node:http'
import { type LookupAddress, lookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { AwsV4Signer } from 'aws4fetch'
import { FluidError } from '../../protocol/errors.ts'
import type { AccessOptions } from '../migrator.ts'

export interface ObjectStore {
  /** http or https, without a path of the bucket. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  readonly accessKey: string
  readonly secretKey: string
  readonly sessionToken?: string
  /** True: endpoint/bucket/object; false: bucket.endpoint/object. */
  readonly pathStyle: boolean
}

/** Of an object as much is read: that it comes is what counts. */
const MAX_OBJECT_BYTES = 1024 * 1024

/** Throws MIGRATOR_FAILED with what could not be reached; `objectKey` undefined: only the bucket is asked for. */
export async function testBucket(
  store: ObjectStore,
  objectKey: string | undefined,
  options: AccessOptions,
): Promise<void> {
  const bucket = await ask('HEAD', store, '', options)
  if (bucket !== 200 && bucket !== 204)
    throw failed(
      `Bucket ${store.bucket} at ${hostOf(store)} ${words(bucket)}`,
      bucket === REASONS[NOT_ASKED]
        ? 'Where it is asked, the operator may name it in migrators.stores'
        : undefined,
    )
  if (objectKey === undefined) return
  const object = await ask('GET', store, objectKey, options)
  if (object !== 200)
    throw failed(
      `Object ${JSON.stringify(objectKey)} of bucket ${store.bucket} at ${hostOf(store)} ${words(object)}`,
    )
}

/** The status of the answer, or what came instead of one. */
async function ask(
  method: 'HEAD' | 'GET',
  store: ObjectStore,
  key: string,
  { signal, mayAsk }: AccessOptions,
): Promise<number | string> {
  try {
    const { url, headers } = await new AwsV4Signer({
      method,
      url: urlOf(store, key),
      accessKeyId: store.accessKey,
      secretAccessKey: store.secretKey,
      sessionToken: store.sessionToken,
      service: 's3',
      region: store.region,
    }).sign()
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    // Loading it takes 40 ms of processor time, which an agent's start need not wait for.
    const { request } = await (url.protocol === 'https:' ? import('node:https') : import('node:http'))
    // Redirects are not followed: credentials go nowhere else.
    const literal = url.hostname.replace(/^\[|\]$/g, '')
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
    if (isIP(literal) !== 0 && !mayAsk(literal, port)) return REASONS[NOT_ASKED]
    const lookup = lookUp((address) => mayAsk(address, port))
    request(url, { method, headers: Object.fromEntries(headers), agent: false, signal, lookup }, resolve)
      .on('error', reject)
      .end()
    const response = await promise
    try {
      let length = 0
      for await (const part of response as AsyncIterable<Buffer>)
        if ((length += part.length) >= MAX_OBJECT_BYTES) break
      return response.statusCode ?? 0
    } finally {
      response.destroy()
    }
  } catch (error) {
    if (signal.aborted) return 'did not answer in time'
    return REASONS[(error as NodeJS.ErrnoException).code ?? ''] ?? 'could not be asked'
  }
}

const NOT_ASKED = 'NOT_ASKED'
const REASONS: Readonly<Record<string, string>> = {
  [NOT_ASKED]: 'is at an address that is not asked',
  ECONNREFUSED: 'cannot be reached: it refuses connections',
  ENOTFOUND: 'cannot be reached: nobody knows its name',
  EHOSTUNREACH: 'cannot be reached',
  ENETUNREACH: 'cannot be reached',
  ECONNRESET: 'broke the connection off',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'has a certificate that nobody here trusts',
  SELF_SIGNED_CERT_IN_CHAIN: 'has a certificate that nobody here trusts',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'has a certificate that nobody here trusts',
  ERR_TLS_CERT_ALTNAME_INVALID: 'has a certificate for another name',
  CERT_HAS_EXPIRED: 'has a certificate that has expired',
}

function words(status: number | string): string {
  if (typeof status === 'string') return status
  if (status === 401 || status === 403) return `does not let these credentials in (${status})`
  if (status === 404) return 'does not exist (404)'
  if (status >= 300 && status < 400) return `is elsewhere or in another region (${status})`
  return `answered ${status}`
}

function urlOf({ endpoint, bucket, pathStyle }: ObjectStore, key: string): string {
  const url = new URL(endpoint)
  if (!pathStyle) url.hostname = `${bucket}.${url.hostname}`
  const base = url.pathname.replace(/\/+$/, '')
  const object = key.split('/').map(encoded).join('/')
  url.pathname = pathStyle ? `${base}/${bucket}${key === '' ? '' : `/${object}`}` : `${base}/${object}`
  return url.href
}

/** As the signature's specification has it: more than encodeURIComponent() does. */
function encoded(part: string): string {
  return encodeURIComponent(part).replaceAll(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/**
 * Names as the system resolves them, and those under localhost as this machine (RFC 6761): not every resolver knows. What is
 * connected to is what was judged: the name is not resolved again.
 */
function lookUp(mayAsk: (address: string) => boolean): LookupFunction {
  return (name, options, give) => {
    const found = (error: Error | null, addresses: readonly LookupAddress[]) => {
      if (error) return give(error, '')
      const asked = addresses.filter(({ address }) => mayAsk(address))
      if (asked.length === 0) give(Object.assign(new Error('No address'), { code: NOT_ASKED }), '')
      else if (options.all) give(null, asked)
      else give(null, asked[0].address, asked[0].family)
    }
    if (name.endsWith('.localhost')) found(null, [{ address: '127.0.0.1', family: 4 }])
    else lookup(name, { ...options, all: true }, found)
  }
}

function hostOf({ endpoint }: ObjectStore): string {
  return new URL(endpoint).host
}

function failed(
  message: string,
  hint = 'Check endpoint, region, bucket and credentials of rebind-object-store; nothing was moved over yet',
): FluidError {
  return new FluidError('MIGRATOR_FAILED', message, { hint })
}
