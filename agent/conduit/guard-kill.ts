/** The last resort of a guard: ends whatever process writes to a machine's disks, found by what it has open. */
import { readFile, readdir, realpath, readlink } from 'node:fs/promises'

/** O_ACCMODE: a process that only reads is left alone, such as an agent that indexes. */
const ACCESS_MODE = 0o3

/** SIGKILLs each process that has one of `disks` open for writing, but this one. Gives their ids. */
export async function killWriters(disks: readonly string[]): Promise<number[]> {
  const wanted = new Set(await Promise.all(disks.map((disk) => realpath(disk).catch(() => disk))))
  const killed: number[] = []
  for (const entry of await readdir('/proc').catch(() => [])) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    if (!(await writesTo(pid, wanted))) continue
    try {
      process.kill(pid, 'SIGKILL')
      killed.push(pid)
    } catch {
      // Gone already, or not ours to end.
    }
  }
  return killed
}

async function writesTo(pid: number, disks: ReadonlySet<string>): Promise<boolean> {
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const path = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')
    if (!disks.has(path)) continue
    const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'latin1').catch(() => '')
    const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? '0', 8)
    if ((flags & ACCESS_MODE) !== 0) return true
  }
  return false
}
