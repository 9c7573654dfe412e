import { readFile } from 'node:fs/promises'
import test from 'ava'
import * as limits from '../../protocol/limits.ts'
import { knownMigrators, resolveMigrator } from '../../transfer/migrators/registry.ts'

const text = await readFile(new URL('../../transfer/migrators/migrators.md', import.meta.url), 'utf8')

for (const { name, version } of knownMigrators()) {
  test(`migrators.md shows an input that ${name} takes`, async (t) => {
    const [, section] = text.split(`### ${name}\n`)
    const [, example] = /~~~json\n([^]*?)~~~/.exec(section.split(/^##/m)[0])!
    const migrator = await resolveMigrator(name, version)
    // The example leaves out what is long.
    t.notThrows(() =>
      migrator.check(JSON.parse(example.replaceAll('8c1f…', '8c1f').replaceAll('"…"', '"x"'))),
    )
  })
}

test('migrators.md gives limits the values they have', (t) => {
  const named = [...text.matchAll(/\b(MAX_[A-Z_]+), (\d+) MiB/g)]
  t.is(named.length, 2)
  for (const [all, name, value] of named)
    t.is((limits as Record<string, unknown>)[name], Number(value) * 2 ** 20, all)
})

test('migrators.md shows lines of the conversation as they are', (t) => {
  const [, shown] = /~~~text\n([^]*?)~~~/.exec(text)!
  const lines = shown
    .replaceAll(/\n {3}/g, '')
    .trim()
    .split('\n')
  t.deepEqual(
    lines.map((line) => [line[0], (JSON.parse(line.slice(2)) as { type: string }).type]),
    [
      ['>', 'hello'],
      ['<', 'hello'],
      ['>', 'changes'],
      ['<', 'read'],
      ['>', 'read'],
      ['<', 'changes'],
    ],
  )
})
