import { access, readFile, readdir } from 'node:fs/promises'
import test from 'ava'

const ROOT = new URL('../../', import.meta.url)

async function documents(): Promise<string[]> {
  const found: string[] = []
  for (const folder of ['', 'protocol/', 'deploy/']) {
    const names = await readdir(new URL(folder, ROOT))
    found.push(...names.filter((name) => name.endsWith('.md')).map((name) => folder + name))
  }
  return found
}

for (const name of await documents()) {
  test(`${name} links only to files that are there`, async (t) => {
    const at = new URL(name, ROOT)
    const links = (await readFile(at, 'utf8')).matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)
    for (const [, link] of links) await t.notThrowsAsync(access(new URL(link, at)), link)
    t.pass()
  })
}
