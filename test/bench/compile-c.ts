/** The benchmark's own small programs, compiled when their source is newer. */
import { mkdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { run } from '../helpers/programs.ts'

/** Compiles `source` (NAME.c) with gcc to NAME in `folder`, unless that is there; gives its path. */
export async function compileC(source: string, folder: string): Promise<string> {
  const program = join(folder, basename(source, '.c'))
  const [wanted, built] = await Promise.all([stat(source), stat(program).catch(() => undefined)])
  if (built && built.mtimeMs > wanted.mtimeMs) return program
  await mkdir(folder, { recursive: true })
  await run('gcc', ['-O2', '-Wall', '-o', program, source])
  return program
}
