/**
 * The bucket stays where it is: endpoint, region and credentials in a service's configuration are pointed to it from the new
 * place. The target proves with the new credentials that it reaches the bucket before anything is cut over.
 */
import type { EditMigrator } from '../migrator.ts'
import { isGuestPath } from './guest-path.ts'
import { boolean, either, integer, isOneLine, list, object, type Of, oneOf, optional, text } from './input.ts'
import { testBucket, type ObjectStore } from './object-store.ts'
import { type Edit, type FileEdits, rewrite } from './rewrite-config.ts'

const printable = (value: string) => /^[\x21-\x7e]{1,4096}$/.test(value)
const name = text((value) => isOneLine(value) && value !== '__proto__', 'a name')
const key = either(
  name,
  list(either(name, integer(0, 100_000), 'a name or a place'), { least: 1, most: 32 }),
  'a key',
)

const readInput = object({
  endpoint: text(isEndpoint, 'a URL of http or https without user, query and fragment'),
  region: optional(text((value) => /^[\w-]{1,64}$/.test(value), 'a name of a region')),
  bucket: text((value) => /^[a-zA-Z0-9][\w.-]{1,254}$/.test(value), 'a name of a bucket'),
  pathStyle: optional(boolean),
  accessKey: text(printable, 'an access key'),
  secretKey: text(printable, 'a secret key'),
  sessionToken: optional(text(printable, 'a session token')),
  /** The same store as the target's agent reaches it, where that is another address than its machines use. */
  testEndpoint: optional(text(isEndpoint, 'a URL of http or https without user, query and fragment')),
  /** An object that must be readable. */
  object: optional(
    text((value) => value !== '' && isOneLine(value) && value.length <= 1024, 'a key of an object'),
  ),
  files: list(
    object({
      path: text(isGuestPath, 'an absolute path in the guest'),
      format: oneOf('env', 'ini', 'json', 'yaml', 'toml', 'nginx', 'systemd'),
      /** Adds keys that are not there. */
      add: optional(boolean),
      keys: object({
        endpoint: optional(key),
        region: optional(key),
        bucket: optional(key),
        accessKey: optional(key),
        secretKey: optional(key),
        sessionToken: optional(key),
      }),
    }),
    { least: 1 },
  ),
})

type Input = Of<typeof readInput>

/** What is shown to nobody. */
const SECRET = new Set(['accessKey', 'secretKey', 'sessionToken'])
const DEFAULT_REGION = 'us-east-1'

export const rebindObjectStore: EditMigrator = {
  name: 'rebind-object-store',
  version: '1.0.0',
  accepts: ['guest/linux'],
  produces: ['guest/linux'],

  check(input) {
    read(input)
  },

  async changes(guest, input, { signal }) {
    const asked = read(input)
    return rewrite(
      guest,
      asked.files.map((file) => editsOf(asked, file)),
      signal,
    )
  },

  async testAccess(input, options) {
    const asked = read(input)
    const store = { ...storeOf(asked), endpoint: asked.testEndpoint ?? asked.endpoint }
    await testBucket(store, asked.object, options)
  },
}

function read(input: unknown): Input {
  return readInput(input, 'rebind-object-store')
}

function storeOf({
  endpoint,
  region = DEFAULT_REGION,
  bucket,
  pathStyle = true,
  accessKey,
  secretKey,
  sessionToken,
}: Input): ObjectStore {
  return { endpoint, region, bucket, pathStyle, accessKey, secretKey, sessionToken }
}

function editsOf(asked: Input, { path, format, add, keys }: Input['files'][number]): FileEdits {
  const edits: Edit[] = []
  const store = storeOf(asked)
  for (const [what, at] of Object.entries(keys)) {
    const value = store[what as keyof ObjectStore]
    if (at !== undefined && value !== undefined)
      edits.push({ key: at, set: value, secret: SECRET.has(what), ...(add && { add }) })
  }
  return { path, format, edits }
}

function isEndpoint(value: string): boolean {
  const url = URL.parse(value)
  return (
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === '' &&
    isOneLine(value)
  )
}
