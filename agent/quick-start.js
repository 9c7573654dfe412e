/**
 * What makes a start quick, before anything else is loaded. It is JavaScript, since it is what has TypeScript taken from
 * a cache: to strip types of one file, Node loads 40 ms of tool.
 *
 * Compiled modules are kept between starts: without, each command and each lane worker spends a quarter of a second of
 * processor time on stripping types and compiling what it compiled the last time. Node checks each entry against its
 * source, so a stale one costs time only. The folder is the user's own: who can write to it can make this program run
 * what he likes.
 *
 * Packages are taken from few files: an agent needs some 700 modules of them, and to find, read and link them one by one
 * is half of its start. pack-packages.ts puts them together when they are installed, and our own files take them from
 * there. Without that folder, or when packages were installed since, each is loaded from its own.
 */
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { enableCompileCache, registerHooks } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** URL of the checkout. */
export const ROOT = new URL('..', import.meta.url).href
/** URL of the folder of packed packages; `npm ci` removes it with all others. */
export const PACKED = new URL('node_modules/.fluidcloud/', ROOT).href

let isQuick = false

/** From now on, in this process; does nothing where it cannot. FLUIDCLOUD_UNPACKED: packages as they were installed. */
export function startQuickly(env) {
  keepCompiledModules(env)
  if (!isQuick && !env.FLUIDCLOUD_UNPACKED) usePackedPackages()
  isQuick = true
}

/** Turns the cache on for this process and, through the environment, for its workers. */
function keepCompiledModules(env) {
  if (env.NODE_COMPILE_CACHE || env.NODE_DISABLE_COMPILE_CACHE) return
  const folder = cacheFolder(env)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const { uid, mode } = statSync(folder)
    if (uid !== process.getuid?.() || mode & 0o022) return
    enableCompileCache(folder)
    env.NODE_COMPILE_CACHE = folder
  } catch {
    // A read-only home: everything works without, a little slower.
  }
}

/** In the XDG cache folder, whose specification has relative paths ignored. */
function cacheFolder(env) {
  const xdg = env.XDG_CACHE_HOME
  const cache = xdg?.startsWith('/') ? xdg : join(env.HOME || homedir(), '.cache')
  return join(cache, 'fluidcloud', 'compiled')
}

/** Changes whenever npm installs or removes a package. Throws where npm did not install them. */
export function installedState() {
  const { size, mtimeMs } = statSync(new URL('node_modules/.package-lock.json', ROOT))
  // In seconds, as archives keep it.
  return `${size} ${Math.floor(mtimeMs / 1000)}`
}

/** Whether packages are put together, of what is installed now. */
export function arePackagesPacked() {
  return packedFiles().size > 0
}

function usePackedPackages() {
  const files = packedFiles()
  registerHooks({
    resolve(specifier, context, next) {
      const { parentURL = '' } = context
      if (!parentURL.startsWith(ROOT) || parentURL.includes('/node_modules/')) return next(specifier, context)
      // Our own are where they say: nothing has to be looked for.
      if (specifier.startsWith('.') && specifier.endsWith('.ts'))
        return { url: new URL(specifier, parentURL).href, format: 'module-typescript', shortCircuit: true }
      const file = files.get(specifier)
      if (file === undefined) return next(specifier, context)
      return { url: PACKED + file, format: 'module', shortCircuit: true }
    },
  })
}

/** What our files import, and the name of a file in PACKED. */
function packedFiles() {
  try {
    const { installed, files } = JSON.parse(readFileSync(new URL('index.json', PACKED), 'utf8'))
    return new Map(installed === installedState() ? Object.entries(files) : [])
  } catch {
    return new Map()
  }
}
