import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'

const run = promisify(execFile)
const checkout = join(import.meta.dirname, '..', '..')

/** A checkout with the launcher and a program that says how it was called; `node`, as given, is its own Node. */
async function makeCheckout(t: ExecutionContext, node?: string): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'fluidcloud-launcher-'))
  t.teardown(() => rm(root, { recursive: true }))
  for (const folder of ['bin', 'agent', 'node_modules/.bin', 'path']) {
    await mkdir(join(root, folder), { recursive: true })
  }
  await copyFile(join(checkout, 'bin', 'fluidcloud'), join(root, 'bin', 'fluidcloud'))
  await writeFile(join(root, 'package.json'), '{ "type": "module" }')
  await writeFile(
    join(root, 'agent', 'start.js'),
    `const args = process.argv.slice(2)
     console.log(JSON.stringify([process.execPath, ...args]))
     process.exitCode = 7`,
  )
  if (node) await symlink(node, join(root, 'node_modules', '.bin', 'node'))
  for (const tool of ['readlink', 'dirname']) await symlink(`/usr/bin/${tool}`, join(root, 'path', tool))
  return root
}

/** Puts a Node that claims `version` and does nothing else in the PATH of launch(). */
async function oldNode(root: string, version: number): Promise<void> {
  const path = join(root, 'path', 'node')
  await writeFile(path, `#!/bin/sh\ncase $1 in -p) echo ${version} ;; -v) echo v${version}.0.0 ;; esac\n`)
  await chmod(path, 0o755)
}

async function launch(root: string, launcher = join(root, 'bin', 'fluidcloud'), args = ['a b', '--x']) {
  const env = { PATH: join(root, 'path') }
  return run('/bin/sh', [launcher, ...args], { env }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

test('bin/fluidcloud runs agent/start.js with the Node of the checkout and passes arguments and status on', async (t) => {
  const root = await makeCheckout(t, process.execPath)
  await oldNode(root, 20)
  const { code, stdout, stderr } = await launch(root)
  t.deepEqual(JSON.parse(stdout), [process.execPath, 'a b', '--x'])
  t.is(code, 7)
  t.is(stderr, '')
})

test('bin/fluidcloud finds its checkout through relative and absolute links', async (t) => {
  const root = await makeCheckout(t, process.execPath)
  await symlink('../bin/fluidcloud', join(root, 'path', 'one'))
  await symlink(join(root, 'path', 'one'), join(root, 'two'))
  t.is((await launch(root, join(root, 'two'))).code, 7)
})

test("bin/fluidcloud takes the machine's Node when the checkout has none", async (t) => {
  const root = await makeCheckout(t)
  await symlink(process.execPath, join(root, 'path', 'node'))
  t.is((await launch(root)).code, 7)
})

test('bin/fluidcloud names the Node that is too old and what to do', async (t) => {
  const root = await makeCheckout(t)
  await oldNode(root, 20)
  const { code, stderr } = await launch(root)
  t.is(code, 1)
  t.regex(stderr, /^fluidcloud: Node v20\.0\.0 at .*\/path\/node is older than 24: run npm ci in /)
})

test('bin/fluidcloud says that there is no Node', async (t) => {
  const { code, stderr } = await launch(await makeCheckout(t))
  t.is(code, 1)
  t.regex(stderr, /^fluidcloud: No Node found: run npm ci in /)
})

test('bin/fluidcloud says that the packages are not installed', async (t) => {
  const root = await makeCheckout(t)
  await rm(join(root, 'node_modules'), { recursive: true })
  const { code, stderr } = await launch(root)
  t.is(code, 1)
  t.regex(stderr, /^fluidcloud: Its packages are not installed: run npm ci in /)
})
