/**
 * An S3-compatible store that stays where it is while services move: OpenStack Swift with its S3 API, on loopback or at one end
 * of a line. A guest on a user network reaches loopback at 10.0.2.2. It ends when its owner does, by SIGKILL too.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { End } from '../bench/line.ts'
import { hasProgram, run } from '../helpers/programs.ts'
import { type Owner, tempDir } from '../helpers/temp-dir.ts'

const SERVER = new URL('object-store.py', import.meta.url).pathname
/** Debian's own: other Pythons do not know its packages. */
const PYTHON = '/usr/bin/python3'
const REGION = 'us-east-1'
const HERE: End = { address: '127.0.0.1', command: (program, args) => [program, args] }

export interface StoreKey {
  readonly accessKey: string
  readonly secretKey: string
}

export interface ObjectStore extends StoreKey, AsyncDisposable {
  /** As this host reaches it. */
  readonly endpoint: string
  /** As a guest on a user network reaches it. */
  readonly guestEndpoint: string
  readonly bucket: string
  readonly region: string
  /** Another key, which only reads from the bucket. */
  readonly scoped: StoreKey
  put(key: string, content: Buffer | string): Promise<void>
  /** Throws when there is no such object, or the key may not read it. */
  get(key: string, as?: StoreKey): Promise<Buffer>
}

/** Why the store cannot run here, or undefined. */
export function objectStoreMissing(): string | undefined {
  if (!hasProgram('curl')) return 'needs curl'
  try {
    execFileSync(PYTHON, ['-c', 'import swift.common.middleware.s3api'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'needs python3-swift'
  }
}

/** Starts a store with one empty bucket, `at` one end of a line or here; it ends with `owner`, or when it is disposed. */
export async function openObjectStore(
  owner: Owner,
  { bucket = 'shop', at = HERE }: { bucket?: string; at?: End } = {},
): Promise<ObjectStore> {
  const folder = await tempDir(owner)
  const [key, scoped] = [newKey(), newKey()]
  const [program, args] = at.command(PYTHON, [SERVER, join(folder, 'store'), at.address])
  const server = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(server, 'exit')
  const close = async () => {
    server.kill('SIGKILL')
    await ended
  }
  owner.teardown(close)
  const keys = {
    [key.accessKey]: { secret: key.secretKey },
    [scoped.accessKey]: { secret: scoped.secretKey, reads: bucket },
  }
  server.stdin.write(`${JSON.stringify({ keys })}\n`)
  const line = once(createInterface(server.stdout), 'line') as Promise<[string]>
  const first = await Promise.race([line, ended])
  if (server.exitCode !== null) throw new Error(`Swift ended with ${server.exitCode}`)
  const { port } = JSON.parse(String(first[0])) as { port: number }
  const endpoint = `http://${at.address}:${port}`
  const request = async (path: string, as: StoreKey, more: string[]) =>
    curl(at, [...more, '--user', `${as.accessKey}:${as.secretKey}`, `${endpoint}/${bucket}${path}`])
  await request('', key, ['--request', 'PUT'])
  return {
    ...key,
    endpoint,
    guestEndpoint: at === HERE ? `http://10.0.2.2:${port}` : endpoint,
    bucket,
    region: REGION,
    scoped,
    async put(name, content) {
      const file = join(folder, randomBytes(8).toString('hex'))
      await writeFile(file, content)
      await request(`/${name}`, key, ['--upload-file', file])
    },
    get: async (name, as = key) => request(`/${name}`, as, []),
    [Symbol.asyncDispose]: close,
  }
}

async function curl(at: End, args: string[]): Promise<Buffer> {
  const signed = ['--aws-sigv4', `aws:amz:${REGION}:s3`, '--header', 'x-amz-content-sha256: UNSIGNED-PAYLOAD']
  const plain = ['--silent', '--show-error', '--fail', '--max-time', '30']
  const [program, all] = at.command('curl', [...plain, ...signed, ...args])
  const { stdout } = await run(program, [...all], {
    encoding: 'buffer',
    maxBuffer: 1 << 30,
  })
  return stdout
}

function newKey(): StoreKey {
  return { accessKey: `AK${randomBytes(9).toString('hex')}`, secretKey: randomBytes(20).toString('hex') }
}
