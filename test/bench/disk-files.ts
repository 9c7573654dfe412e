/**
 * Files inside the disk of make-disk.sh, the same at every run.
 * Usage: node disk-files.ts database|pages|log|more-log FILE
 */
import { appendFile, open, writeFile } from 'node:fs/promises'

const PAGE_BYTES = 8192
const PAGES = 25_600
const CHANGED_PAGES = 6_000
const CHANGES_A_PAGE = 20
const CHANGE_BYTES = 16
const LOG_LINES = 150_000

const [what, path] = process.argv.slice(2)
const actions: Record<string, (path: string) => Promise<void>> = { database, pages, log, 'more-log': moreLog }
if (!path || !Object.hasOwn(actions, what))
  throw new TypeError('Usage: disk-files.ts database|pages|log|more-log FILE')
await actions[what](path)

/** Pages of rows of text padded with blanks, as the heap of a database has them. */
async function database(file: string): Promise<void> {
  const random = randomNumbers(42)
  await using out = await open(file, 'w')
  for (let page = 0; page < PAGES; page++) {
    let rows = ''
    for (let row = 0; rows.length < PAGE_BYTES; row++) {
      const [a, b] = [random(2 ** 32), random(2 ** 32)].map((number) => number.toString(16).padStart(8, '0'))
      rows += `${String(page * 100 + row).padStart(10, '0')}|${a}${b}|user-${random(1e6)}@example.org|${' '.repeat(20 + random(40))}|`
    }
    await out.write(rows.slice(0, PAGE_BYTES))
  }
}

/** Rows change in pages all over the database. */
async function pages(file: string): Promise<void> {
  const random = randomNumbers(1)
  await using db = await open(file, 'r+')
  const change = Buffer.alloc(CHANGE_BYTES)
  for (let i = 0; i < CHANGED_PAGES; i++) {
    const page = random(PAGES) * PAGE_BYTES
    for (let j = 0; j < CHANGES_A_PAGE; j++) {
      for (let at = 0; at < CHANGE_BYTES; at++) change[at] = random(256)
      await db.write(change, 0, CHANGE_BYTES, page + random(PAGE_BYTES - CHANGE_BYTES))
    }
  }
}

async function log(file: string): Promise<void> {
  await writeFile(file, lines('Nov', 7))
}

async function moreLog(file: string): Promise<void> {
  await appendFile(file, lines('Dec', 8))
}

function lines(month: string, seed: number): string {
  const random = randomNumbers(seed)
  return Array.from({ length: LOG_LINES }, (_, i) => {
    const time = [i / 3600, i / 60, i].map((part) => String(Math.floor(part) % 60).padStart(2, '0')).join(':')
    return `${month} ${String(1 + Math.floor(i / 6000)).padStart(2, '0')} ${time} vm app[${300 + random(8700)}]: request id=${random(2 ** 32).toString(16)} path=/api/v1/item/${random(1e5)} ms=${random(900)}\n`
  }).join('')
}

/** Whole numbers from 0 to below `below` (xorshift32; Marsaglia 2003). */
function randomNumbers(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return Math.floor(((state >>> 0) / 2 ** 32) * below)
  }
}
