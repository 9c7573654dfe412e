import { execFile, spawnSync } from 'node:child_process'
import { chmod, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { openFakeSite } from '../helpers/command-line.ts'
import { fakeComplete } from '../helpers/fake-agent.ts'

const MAIN = path.join(import.meta.dirname, '..', '..', 'agent', 'main.ts')

async function completeWords(words: string[], answers = {}): Promise<string[]> {
  await using site = await openFakeSite({
    jobs: async () => [fakeComplete, { ...fakeComplete, job: 'job-2', state: 'running' }],
    ...answers,
  })
  const { stdout } = await site.run(['__complete', '--', ...words])
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t')[0])
}

const matrix: readonly [words: string, candidates: string][] = [
  ['p|', 'pair policy plan pause'],
  ['pair |', 'ticket list pending accept reject rm'],
  ['policy seed |', 'add rm list'],
  ['--json wa|', 'watch'],
  ['--home /x/y rec|', 'receipt'],
  ['move --re|', '--replace'],
  ['move a |', 'beta:'],
  ['move a be|', 'beta:'],
  ['move --format |', 'raw qcow2'],
  ['move --streams 4 a |', 'beta:'],
  ['pause |', 'job-2'],
  ['receipt |', 'job-1 job-2'],
  ['policy set |', 'beta'],
  ['completion |', 'bash zsh fish'],
  ['move |', ''],
]

for (const [words, candidates] of matrix) {
  test(`__complete offers '${candidates}' for '${words}'`, async (t) => {
    t.deepEqual(
      await completeWords(words.replace('|', '').split(' ')),
      candidates.split(' ').filter((word) => word !== ''),
    )
  })
}

test('__complete asks the agent of the home on the line', async (t) => {
  await using site = await openFakeSite()
  const { stdout } = await site.run(['__complete', '--', '--home', site.home.path, 'pause', ''], {
    env: { FLUIDCLOUD_HOME: '/nonexistent' },
  })
  t.regex(stdout, /^job-1\t/)
})

test('__complete is silent, and ends, when the agent does not answer', async (t) => {
  t.deepEqual(await completeWords(['pause', ''], { jobs: () => new Promise(() => {}) }), [])
})

for (const shell of ['bash', 'zsh', 'fish']) {
  test(`completion ${shell} prints a script that ${shell} accepts`, async (t) => {
    await using site = await openFakeSite()
    const { exit, stdout } = await site.run(['completion', shell])
    t.is(exit, 0)
    if (spawnSync(shell, ['-c', 'true']).error) return t.log(`${shell} is not installed: not parsed`)
    const script = path.join(site.folder, 'script')
    await writeFile(script, stdout)
    const { status, stderr } = spawnSync(shell, ['-n', script], { encoding: 'utf8' })
    t.is(status, 0, stderr)
  })
}

test('completion bash completes a peer behind a word', async (t) => {
  await using site = await openFakeSite()
  const program = path.join(site.folder, 'fluidcloud')
  await writeFile(program, `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`)
  await chmod(program, 0o755)
  const { stdout: script } = await site.run(['completion', 'bash'])
  const line = `${program} move disk.raw be`
  const ask = `${script}\nCOMP_LINE='${line}' COMP_POINT=${line.length}\n_fluidcloud\nprintf '<%s>' "\${COMPREPLY[@]}"`
  const { stdout } = await promisify(execFile)('bash', ['-c', ask], {
    env: { ...process.env, FLUIDCLOUD_HOME: site.home.path },
  })
  t.is(stdout, '<beta:>')
})
