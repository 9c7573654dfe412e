/**
 * A program of the next minor version, made of this one: it says a higher minor, and puts fields nobody knows yet into
 * every control message and every lane header.
 */
import { cp, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { tempDir, type Owner } from './temp-dir.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Field 2000, a varint; field 2001, four bytes. Appended to an encoded message they are part of it. */
const UNKNOWN_FIELDS = 'Buffer.from([0x80, 0x7d, 0x05, 0x8a, 0x7d, 0x04, 1, 2, 3, 4])'

/** Path of its main module. With `major` it is of the next major version instead, under the old protocol id. */
export async function makeNewerProgram(owner: Owner, { major = false } = {}): Promise<string> {
  const root = await tempDir(owner)
  for (const part of ['agent', 'protocol', 'transfer', 'broker', 'package.json']) {
    await cp(join(ROOT, part), join(root, part), { recursive: true })
  }
  await symlink(join(ROOT, 'node_modules'), join(root, 'node_modules'))
  const version = major ? /(PROTOCOL_MAJOR = )(\d+)/ : /(PROTOCOL_MINOR = )(\d+)/
  await change(join(root, 'protocol/ids.ts'), version, (_, name, number) => `${name}${Number(number) + 1}`)
  await change(
    join(root, 'agent/viaduct/control-stream.ts'),
    /encodeControl\(message\)/,
    (call) => `Buffer.concat([${call}, ${UNKNOWN_FIELDS}])`,
  )
  await change(
    join(root, 'protocol/codec.ts'),
    /LaneFrame\.encode\(toWire\(message\), writer\)/,
    (call) => `${call}.uint32(2000 << 3).uint32(5)`,
  )
  return join(root, 'agent/main.ts')
}

async function change(
  path: string,
  pattern: RegExp,
  into: (match: string, ...groups: string[]) => string,
): Promise<void> {
  const text = await readFile(path, 'utf8')
  if (!pattern.test(text))
    throw new Error(`${path} has nothing like ${pattern}: the newer program must be made another way`)
  await writeFile(path, text.replace(pattern, into))
}
