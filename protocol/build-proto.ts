/**
 * Generates pb/ from the schemas: `npm run build:proto`, or with a folder to write elsewhere.
 *
 * Two passes of pbjs for each schema: the code without comments (a quarter of the size), and the types, which
 * pbjs derives from those comments. Each module gets a root of its own, so that several live in one process.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const SCHEMAS = ['viaduct', 'chunks', 'pairing', 'catalog', 'relocation'] as const

const here = dirname(fileURLToPath(import.meta.url))
const pbjs = join(
  dirname(createRequire(import.meta.url).resolve('protobufjs-cli/package.json')),
  'bin',
  'pbjs',
)
const run = promisify(execFile)

const TARGET = ['-t', 'static-module', '-w', 'esm', '--force-number', '--dependency', '../protobuf.ts']
const LESS = ['--no-create', '--no-verify', '--no-convert', '--no-delimited', '--no-service', '--no-typeurl']

/** Writes `<schema>.js` and `<schema>.d.ts` for one schema into `folder`. */
export async function buildSchema(schema: (typeof SCHEMAS)[number], folder: string): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'fluidcloud-pb-'))
  try {
    const common = [pbjs, ...TARGET, ...LESS, '-r', `fluidcloud_${schema}`]
    const proto = join(here, `${schema}.proto`)
    const [code, types] = [join(scratch, 'code.js'), join(scratch, 'types.js')]
    await Promise.all([
      run(process.execPath, [...common, '--no-comments', '-o', code, proto]),
      run(process.execPath, [...common, '--dts', '-o', types, proto]),
    ])
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, `${schema}.js`), await readFile(code))
    await writeFile(
      join(folder, `${schema}.d.ts`),
      plainTypes(await readFile(join(scratch, 'types.d.ts'), 'utf8')),
    )
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/** The types as an ES module can carry them: no Long, no comments, the runtime's own types. */
function plainTypes(text: string): string {
  return text
    .replace(/^import Long = require\("long"\);\n/m, '')
    .replace(
      /import \* as \$protobuf from "[^"]+";/,
      'import type * as $protobuf from "protobufjs/minimal.js";',
    )
    .replace(/^ *\/\*\*(?:.|\n)*?\*\/\n/gm, '')
    .replace(/\n\n+/g, '\n')
}

if (import.meta.main) {
  const folder = process.argv[2] ?? join(here, 'pb')
  for (const schema of SCHEMAS) await buildSchema(schema, folder)
}
