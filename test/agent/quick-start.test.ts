import { execFile } from 'node:child_process'
import { copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { tempDir } from '../helpers/temp-dir.ts'

const run = promisify(execFile)
const checkout = join(import.meta.dirname, '..', '..')

/** A checkout with one package of ES modules, one of CommonJS, and a program that says what it got of them. */
async function makeCheckout(t: ExecutionContext): Promise<string> {
  const root = await tempDir(t)
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
  await write('package.json', '{ "type": "module" }')
  await write('node_modules/.package-lock.json', '{}')
  await write('node_modules/new/package.json', '{ "type": "module", "exports": "./index.js" }')
  await write('node_modules/new/index.js', "export { word } from './word.js'\nexport default 'default'")
  await write('node_modules/new/word.js', "export const word = 'new'")
  await write('node_modules/old/package.json', '{}')
  await write('node_modules/old/index.js', "exports.word = 'old'")
  await write(
    'agent/main.ts',
    `import whole, { word } from 'new'
     import { word as other } from 'old'
     const said: string = [whole, word, other].join(' ')
     console.log(said)`,
  )
  for (const file of ['start.js', 'quick-start.js', 'pack-packages.ts'])
    await copyFile(join(checkout, 'agent', file), join(root, 'agent', file))
  await symlink(join(checkout, 'node_modules', 'esbuild'), join(root, 'node_modules', 'esbuild'))
  return root
}

const program = async (root: string, file: string, env: NodeJS.ProcessEnv = {}): Promise<string> => {
  const { stdout } = await run(process.execPath, [join(root, 'agent', file)], {
    env: { NODE_DISABLE_COMPILE_CACHE: '1', ...env },
  })
  return stdout.trim()
}

test('packages come from where they were packed', async (t) => {
  const root = await makeCheckout(t)
  t.is(await program(root, 'pack-packages.ts'), 'Packed 2 packages: starts take less time')
  for (const name of ['new', 'old']) await rm(join(root, 'node_modules', name), { recursive: true })
  t.is(await program(root, 'start.js'), 'default new old')
  await t.throwsAsync(program(root, 'start.js', { FLUIDCLOUD_UNPACKED: '1' }), {
    message: /Cannot find package/,
  })
})

test('packages come from their own folders when none are packed, or others were installed since', async (t) => {
  const root = await makeCheckout(t)
  t.is(await program(root, 'start.js'), 'default new old')
  await program(root, 'pack-packages.ts')
  await writeFile(join(root, 'node_modules/new/word.js'), "export const word = 'newer'")
  t.is(await program(root, 'start.js'), 'default new old')
  await writeFile(join(root, 'node_modules/.package-lock.json'), '{ "packages": {} }')
  t.is(await program(root, 'start.js'), 'default newer old')
})

test('arePackagesPacked() is false before, and once others were installed', async (t) => {
  const root = await makeCheckout(t)
  await writeFile(
    join(root, 'agent', 'tell.js'),
    "import { arePackagesPacked } from './quick-start.js'\nconsole.log(arePackagesPacked())",
  )
  const told = [await program(root, 'tell.js')]
  await program(root, 'pack-packages.ts')
  told.push(await program(root, 'tell.js'))
  await writeFile(join(root, 'node_modules/.package-lock.json'), '{ "packages": {} }')
  told.push(await program(root, 'tell.js'))
  t.deepEqual(told, ['false', 'true', 'false'])
})

test('a package that does not come out as it is stays where it is', async (t) => {
  const root = await makeCheckout(t)
  // It exports more when it is asked from a folder of its own.
  await writeFile(
    join(root, 'node_modules/old/index.js'),
    "exports.word = 'old'\nif (/node_modules.old/.test(__filename)) exports.more = 1",
  )
  await program(root, 'pack-packages.ts')
  const index = await readFile(join(root, 'node_modules/.fluidcloud/index.json'), 'utf8')
  t.deepEqual(Object.keys((JSON.parse(index) as { files: object }).files), ['new'])
  t.is(await program(root, 'start.js'), 'default new old')
})
