import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'

const run = promisify(execFile)
const checkout = join(import.meta.dirname, '..', '..')

/** Files that break one rule each, and the good ones they lean on. */
const FILES: Readonly<Record<string, string>> = {
  'protocol/good.ts': 'export const good = 1\n',
  'transfer/good.ts': "import { good } from '../protocol/good.ts'\nexport const better = good\n",
  'broker/good.ts': "import { good } from '../protocol/good.ts'\nexport const better = good\n",
  'agent/good.ts': "import { better } from '../transfer/good.ts'\nexport const best = better\n",
  'test/agent/good.ts':
    "import { best } from '../../agent/good.ts'\nimport { better } from '../../broker/good.ts'\nexport const all = [best, better]\n",
  'protocol/to-transfer.ts': "import { better } from '../transfer/good.ts'\nexport const x = better\n",
  'protocol/to-agent.ts': "import type { best } from '../agent/good.ts'\nexport type X = typeof best\n",
  'protocol/to-broker.ts': "export const x = import('../broker/good.ts')\n",
  'protocol/to-files.ts': "import { statSync } from 'node:fs'\nexport const x = statSync\n",
  'transfer/lanes/to-agent.ts': "import { best } from '../../agent/good.ts'\nexport const x = best\n",
  'transfer/to-broker.ts': "import { better } from '../broker/good.ts'\nexport const x = better\n",
  'broker/to-transfer.ts': "import { better } from '../transfer/good.ts'\nexport const x = better\n",
  'broker/to-agent.ts': "import { best } from '../agent/good.ts'\nexport const x = best\n",
  'agent/clouds/to-broker.ts': "import { better } from '../../broker/good.ts'\nexport const x = better\n",
  'agent/to-test.ts': "import { all } from '../test/agent/good.ts'\nexport const x = all\n",
  'agent/barrel.ts': "export * from './good.ts'\n",
  'agent/cycle-a.ts': "import { b } from './cycle-b.ts'\nexport const a = (): number => b()\n",
  'agent/cycle-b.ts': "import { a } from './cycle-a.ts'\nexport const b = (): number => a()\n",
  'agent/forgotten-promise.ts':
    'async function go(): Promise<void> {}\nexport function start(): void {\n  go()\n}\n',
  'protocol/pb/generated.js': 'var x = 1\nif (x == 2) debugger\n',
}

interface Finding {
  readonly filename: string
  readonly code: string
}

test('oxlint finds exactly what .oxlintrc.json forbids: direction, cycles, barrels, forgotten promises', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'fluidcloud-lint-'))
  t.teardown(() => rm(root, { recursive: true }))
  for (const file of ['.oxlintrc.json', 'tsconfig.json', 'package.json']) {
    await cp(join(checkout, file), join(root, file))
  }
  await symlink(join(checkout, 'node_modules'), join(root, 'node_modules'))
  for (const [file, text] of Object.entries(FILES)) {
    await mkdir(dirname(join(root, file)), { recursive: true })
    await writeFile(join(root, file), text)
  }

  const oxlint = join(checkout, 'node_modules', '.bin', 'oxlint')
  const { stdout } = await run(oxlint, ['--format=json'], { cwd: root }).catch(
    (error: { stdout: string }) => error,
  )
  const { diagnostics } = JSON.parse(stdout) as { diagnostics: Finding[] }
  const found = diagnostics.map(({ filename, code }) => `${filename} ${code}`).toSorted()
  const forbidden = (file: string): string => `${file} eslint(no-restricted-imports)`
  t.deepEqual(found, [
    'agent/barrel.ts oxc(no-barrel-file)',
    forbidden('agent/clouds/to-broker.ts'),
    'agent/cycle-a.ts import(no-cycle)',
    'agent/cycle-b.ts import(no-cycle)',
    'agent/forgotten-promise.ts typescript(no-floating-promises)',
    forbidden('agent/to-test.ts'),
    forbidden('broker/to-agent.ts'),
    forbidden('broker/to-transfer.ts'),
    forbidden('protocol/to-agent.ts'),
    forbidden('protocol/to-broker.ts'),
    forbidden('protocol/to-files.ts'),
    forbidden('protocol/to-transfer.ts'),
    forbidden('transfer/lanes/to-agent.ts'),
    forbidden('transfer/to-broker.ts'),
  ])
})

// oxlint's rule sees only "export *".
test('no module hands on what another defines', async (t) => {
  for (const folder of ['protocol', 'transfer', 'agent', 'broker']) {
    const files = await readdir(join(checkout, folder), { recursive: true }).catch(() => [])
    for (const file of files.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))) {
      const text = await readFile(join(checkout, folder, file), 'utf8')
      t.notRegex(text, /^export\s+(?:type\s+)?(?:\*|\{[^}]*\})\s*from\b/m, `${folder}/${file}`)
    }
  }
  t.pass()
})
