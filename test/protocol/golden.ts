/** Golden frames: `node test/protocol/golden.ts` adds the missing ones, and changes none that is there. */
import { existsSync } from 'node:fs'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { SAMPLES } from './samples.ts'

const FOLDER = new URL('../fixtures/frames/', import.meta.url)
const LINE_CHARS = 96

/** Names of all fixtures, without their extension. */
export async function goldenNames(): Promise<string[]> {
  return (await readdir(FOLDER)).map((file) => file.replace(/\.hex$/, '')).toSorted()
}

/** The bytes of one fixture. */
export async function readGolden(name: string): Promise<Uint8Array> {
  return Buffer.from((await readFile(fileOf(name), 'utf8')).replace(/\s/g, ''), 'hex')
}

function fileOf(name: string): URL {
  return new URL(`${name}.hex`, FOLDER)
}

if (import.meta.main) {
  for (const { name, encode } of SAMPLES) {
    if (existsSync(fileOf(name))) continue
    const hex = Buffer.from(encode()).toString('hex')
    const lines = hex.match(new RegExp(`.{1,${LINE_CHARS}}`, 'g')) ?? []
    await writeFile(fileOf(name), `${lines.join('\n')}\n`)
  }
}
