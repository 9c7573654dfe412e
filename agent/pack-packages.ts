/**
 * Puts the packages that our files import together, after `npm ci`; quick-start.js says what for. What comes out is
 * compared with the packages themselves, and what differs is left out. A failure costs time at each start, no more.
 */
import { glob, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { installedState, PACKED, type PackedIndex, ROOT } from './quick-start.js'

/** Native code, what opens files beside itself, and this tool: loaded from their own folders. */
const APART = ['classic-level', 'koffi', '@napi-rs/blake-hash', 'node-datachannel', 'pino', 'esbuild']
/** CommonJS that is asked for with require() by what was an ES module. */
const BANNER = "import { createRequire } from 'node:module'\nconst require = createRequire(import.meta.url)"

const root = fileURLToPath(ROOT)
const packed = fileURLToPath(PACKED)

try {
  const count = await pack()
  console.log(`Packed ${count} packages: starts take less time`)
} catch (error) {
  await rm(packed, { recursive: true, force: true })
  console.warn(`Packages are not packed, starts take longer: ${String(error)}`)
}
// Whatever the packages that were loaded for comparison left running.
process.exit()

async function pack(): Promise<number> {
  const folder = `${packed.replace(/\/$/, '')}.${process.pid}`
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  try {
    const names = await imported()
    const entryPoints: Record<string, string> = {}
    for (const [i, name] of names.entries()) {
      const file = join(folder, `entry-${i}.js`)
      await writeFile(file, await entryOf(name))
      entryPoints[`package-${i}`] = file
    }
    await build({
      entryPoints,
      absWorkingDir: root,
      outdir: folder,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node24',
      // As Node resolves.
      conditions: ['module-sync', 'node-addons'],
      mainFields: ['main'],
      external: APART.flatMap((name) => [name, `${name}/*`]),
      banner: { js: BANNER },
      legalComments: 'none',
      logLevel: 'error',
    })
    const files: Record<string, string> = {}
    for (const [i, name] of names.entries())
      if (await isSame(name, join(folder, `package-${i}.mjs`))) files[name] = `package-${i}.mjs`
    const index: PackedIndex = { installed: installedState(), files }
    await writeFile(join(folder, 'index.json'), JSON.stringify(index))
    await rm(packed, { recursive: true, force: true })
    await rename(folder, packed)
    return Object.keys(files).length
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Packages, and modules of packages, that the program imports. */
async function imported(): Promise<string[]> {
  const names = new Set<string>()
  for await (const path of glob('{agent,broker,protocol,transfer}/**/*.{ts,js}', { cwd: root })) {
    const text = await readFile(join(root, path), 'utf8')
    for (const [, name] of text.matchAll(/\b(?:from|import) ?\(?['"]([@a-z][\w@./-]*)['"]/g)) names.add(name)
  }
  const isApart = (name: string) => APART.some((one) => name === one || name.startsWith(`${one}/`))
  return [...names].filter((name) => !isBuiltin(name) && !isApart(name)).sort()
}

/** A module that exports what `name` does: of CommonJS, what Node finds in it. */
async function entryOf(name: string): Promise<string> {
  const exported = await exportsOf(name)
  if (exported === undefined) return ''
  const from = JSON.stringify(name)
  const names = Object.keys(exported)
  if (!names.includes('module.exports')) {
    const whole = names.includes('default') ? `export { default } from ${from}\n` : ''
    return `export * from ${from}\n${whole}`
  }
  const named = names.filter((each) => each !== 'default' && each !== 'module.exports')
  const list = named.map(
    (each, i) => `const n${i} = all[${JSON.stringify(each)}]\nexport { n${i} as ${each} }\n`,
  )
  return `import all from ${from}\nexport default all\n${list.join('')}`
}

/** What a module exports; undefined when it cannot be loaded: types only, or not for this machine. */
async function exportsOf(url: string): Promise<Record<string, unknown> | undefined> {
  return await import(url).then(
    (all: Record<string, unknown>) => all,
    () => undefined,
  )
}

/** True when the file exports what the package does, by names and kinds. */
async function isSame(name: string, file: string): Promise<boolean> {
  const [before, after] = [await exportsOf(name), await exportsOf(pathToFileURL(file).href)]
  const kinds = (all: Record<string, unknown> = {}) =>
    Object.entries(all)
      .filter(([key]) => key !== 'module.exports')
      .map(([key, value]) => `${key} ${typeof value}`)
      .sort()
      .join()
  return kinds(before) !== '' && kinds(before) === kinds(after)
}
