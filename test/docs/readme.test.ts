import { readFile, realpath } from 'node:fs/promises'
import test from 'ava'
import { createProgram } from '../../agent/cli.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { patternOf, runExamples, shellExamples } from './shell-examples.ts'

/** The folder in which the README's examples were run. */
const DOCUMENTED_FOLDER = '/srv/demo'
const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8')

test('README.md prints what its examples print', async (t) => {
  const folder = await realpath(await tempDir(t))
  const examples = shellExamples(readme)
  t.true(examples.length > 8)
  const outputs = await runExamples(t, examples, folder)
  for (const [i, { commands, output }] of examples.entries()) {
    const printed = (outputs[i] ?? []).map((line) => line.replaceAll(folder, DOCUMENTED_FOLDER))
    const all = `${commands}\n${printed.join('\n')}`
    t.is(printed.length, output.length, all)
    for (const [at, line] of output.entries()) t.regex(printed[at] ?? '', patternOf(line), all)
  }
})

test('patternOf() tells other words from other numbers', (t) => {
  const pattern = patternOf('  resumed  20.0 MiB were durable already')
  t.regex('  resumed  3 B were durable already', pattern)
  t.notRegex('  resumed  nothing was durable already', pattern)
  t.notRegex('  deduped  20.0 MiB were durable already', pattern)
})

test('README.md lists every command', async (t) => {
  const listed = [...section('Commands').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name)
  // Its actions are never run here, so it needs no terminal to write to.
  const program = await createProgram({ terminal: { stdout: {}, stderr: {}, env: {} }, exit: 0 } as never)
  const commands = program.commands.map((command) => command.name()).filter((name) => !name.startsWith('__'))
  t.deepEqual(listed.toSorted(), commands.toSorted())
  for (const group of ['pair', 'policy']) {
    const below = program.commands
      .find((command) => command.name() === group)!
      .commands.map((command) => command.name())
    const row = section('Commands')
      .split('\n')
      .find((line) => line.startsWith(`| \`${group}\` |`))!
    for (const name of below) t.regex(row, new RegExp(`\`(?:${group} )?${name}\\b`), `${group} ${name}`)
  }
})

test('README.md gives every error code the exit status it has', (t) => {
  const documented: Record<string, number> = {}
  for (const [, exit, codes] of section('Exit codes').matchAll(/^\| (\d+) \|[^|]*\|([^|]*)\|/gm)) {
    for (const [, code] of codes.matchAll(/`(\w+)`/g)) documented[code] = Number(exit)
  }
  const actual = Object.fromEntries(Object.keys(ERRORS).map((code) => [code, ERRORS[code as ErrorCode].exit]))
  t.deepEqual(documented, actual)
})

/** The text under a heading of the second level. */
function section(heading: string): string {
  return readme.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? ''
}
