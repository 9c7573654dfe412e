/** What .ci/run prints at its end, from a report that ava itself writes. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { tempDir } from '../helpers/temp-dir.ts'

const checkout = join(import.meta.dirname, '..', '..')

function summary(report: string, broken = '') {
  const { status, stdout } = spawnSync('awk', ['-f', join(checkout, '.ci', 'summary.awk')], {
    input: report,
    encoding: 'utf8',
    env: { ...process.env, BROKEN: broken },
  })
  return { status, lines: stdout.trimEnd().split('\n') }
}

/** The report of a run of these files, interrupted once all of `marks` were written. */
async function avaReport(
  folder: string,
  files: Readonly<Record<string, string>>,
  marks: readonly string[] = [],
): Promise<string> {
  await symlink(join(checkout, 'node_modules'), join(folder, 'node_modules'))
  await writeFile(join(folder, 'package.json'), '{ "type": "module", "ava": { "timeout": "10m" } }')
  await mkdir(join(folder, 'test'))
  for (const [name, tests] of Object.entries(files)) {
    await writeFile(join(folder, 'test', name), `import test from 'ava'\n${tests}\n`)
  }
  const ava = join(checkout, 'node_modules', 'ava', 'entrypoints', 'cli.js')
  const child = spawn(process.execPath, [ava, '--no-color', '--no-worker-threads'], { cwd: folder })
  let [report, all] = ['', '']
  const heed = () => marks.length > 0 && marks.every((mark) => all.includes(mark)) && child.kill('SIGINT')
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    report += text
    all += text
    heed()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    all += text
    heed()
  })
  await once(child, 'close')
  return report
}

test('the end of a run names what failed, why, and what was never done', async (t) => {
  const report = await avaReport(
    await tempDir(t),
    {
      'fails.js': `
        test('good', (t) => t.pass())
        test('bad', (t) => t.is(1, 2, 'one is not two'))
        test.skip('skipped', (t) => t.pass())`,
      'hangs.js': `
        test('for ever', (t) => {
          t.log('waits for nobody')
          process.stderr.write('hanging')
          return new Promise(() => setInterval(() => {}, 1000))
        })`,
      'crashes.js': `throw new Error('out of turn')`,
    },
    ['hanging', 'fails › bad', 'fails › good', 'crashes.js exited'],
  )
  const { status, lines } = summary(report, 'npm test')
  t.is(status, 1)
  const text = lines.join('\n')
  // What it logged may be on its way to ava when the run is interrupted.
  t.regex(text, /◌ hangs › for ever\n/)
  t.regex(text, /Error: out of turn/)
  t.regex(text, /one is not two\n\n\s+Difference/)
  t.is(lines.at(-2), 'Failed: npm test')
  // A file whose process was still about to end is told of besides: the interruption ended it.
  t.regex(lines.at(-1)!, /^1 passed, [45] failed, 1 skipped$/)
  for (const name of [
    '✘ [fail]: fails › bad one is not two',
    '✘ test/crashes.js exited with a non-zero exit code: 1',
    '◌ hangs › for ever',
  ])
    t.true(lines.slice(-7).includes(`  ${name}`), name)
})

test('a run in which nothing failed is whole, and one whose report has no end is not', async (t) => {
  const report = await avaReport(await tempDir(t), {
    'passes.js': `test('good', (t) => t.pass())\ntest.todo('later')`,
  })
  t.deepEqual(summary(report), { status: 0, lines: ['  - [todo] later', '1 passed, 0 failed, 1 skipped'] })
  const cut = report.slice(0, report.indexOf('─'))
  t.deepEqual(summary(cut).lines.slice(1), [
    'Failed: the test run was cut short',
    '1 passed, 0 failed, 1 skipped',
  ])
  t.is(summary(cut).status, 1)
  t.is(summary('').lines.at(-1), '0 passed, 0 failed, 0 skipped')
  t.is(summary(report, 'npm run -s lint').status, 1)
})
