/**
 * Keeps compiled modules between starts: without, each command and each lane worker spends a quarter of a second of
 * processor time on stripping types and compiling what it compiled the last time.
 *
 * Node checks each entry against its source, so a stale one costs time only. The folder is the user's own: who can write
 * to it can make this program run what he likes.
 */
import { mkdirSync, statSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Turns the cache on for this process and, through the environment, for its workers; does nothing where it cannot. */
export function keepCompiledModules(env: NodeJS.ProcessEnv): void {
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
function cacheFolder(env: NodeJS.ProcessEnv): string {
  const xdg = env.XDG_CACHE_HOME
  const cache = xdg?.startsWith('/') ? xdg : join(env.HOME || homedir(), '.cache')
  return join(cache, 'fluidcloud', 'compiled')
}
