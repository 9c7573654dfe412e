/** What goes through ssh: rsync, scp, and a tar piped through zstd. The sender dials. */
import { mkdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Contender, Traits } from '../contender.ts'
import { measure } from '../meter.ts'
import { runToEnd } from '../processes.ts'
import { run } from '../../helpers/programs.ts'
import { startSshServer } from './ssh-server.ts'

const NAME = 'disk.raw'
/** Of what it sends anew, rsync compares a digest; what it finds in the old version by weaker sums, too. */
const RSYNC: Traits = { verified: true, encrypted: true, resumable: true }
const COPY: Traits = { verified: false, encrypted: true, resumable: false }

interface Copy {
  readonly name: string
  readonly needs: readonly string[]
  readonly traits: Traits
  /** The command at the sender; `ssh` are options that name port, key and cipher, `target` is a path at the other end. */
  command(ssh: readonly string[], source: string, host: string, target: string): readonly string[]
  /** Where it writes when not to the path it was given. */
  written?(source: string, target: string): string
  /** Where the version before lies, seen from the task's folder; under the target's own name unless given. */
  readonly heldAt?: string
}

/** rsync over ssh, with the options of the case. */
export function rsyncOverSsh(options: readonly string[], cipher?: string, heldAt?: string): Contender {
  return overSsh(cipher, {
    heldAt,
    name: ['rsync+ssh', ...options].join(' '),
    needs: ['rsync', 'ssh'],
    traits: RSYNC,
    command: (ssh, source, host, target) => [
      'rsync',
      ...options,
      '-e',
      ['ssh', ...ssh].join(' '),
      source,
      `${host}:${target}`,
    ],
  })
}

export function scp(cipher?: string): Contender {
  return overSsh(cipher, {
    name: 'scp',
    needs: ['scp'],
    traits: COPY,
    command: (ssh, source, host, target) => ['scp', ...ssh, source, `${host}:${target}`],
  })
}

/** `tar | zstd | ssh`, holes kept. */
export function tarOverSsh(cipher?: string): Contender {
  return overSsh(cipher, {
    name: 'tar|zstd|ssh',
    needs: ['tar', 'zstd', 'ssh'],
    traits: COPY,
    command: (ssh, source, host, target) => [
      'sh',
      '-c',
      'source=$1 host=$2 target=$3; shift 3; tar -cSf - -C "$(dirname "$source")" "$(basename "$source")" | zstd -1 -q | ssh "$@" "$host" "zstd -dq | tar -xSf - -C \'$target\'"',
      'sh',
      source,
      host,
      dirname(target),
      ...ssh,
    ],
    written: (source, target) => join(dirname(target), basename(source)),
  })
}

function overSsh(cipher: string | undefined, copy: Copy): Contender {
  return {
    name: cipher === undefined ? copy.name : `${copy.name} (${cipher.split('@')[0]})`,
    needs: [...copy.needs, 'sshd', 'ssh-keygen'],
    traits: copy.traits,
    async move({ source, held, folder, line }) {
      const target = await prepareTarget(folder, held, copy.heldAt)
      await using server = await startSshServer(line.receiver, join(folder, 'ssh'), cipher)
      const [program, ...args] = copy.command(server.options, source, line.receiver.address, target)
      const { figures } = await measure(line, () => runToEnd(line.sender, program, args))
      return { ...figures, target: copy.written?.(source, target) ?? target }
    },
  }
}

/** The path to write to; the version that is held lies there, or at `heldAt` in `folder`. */
export async function prepareTarget(folder: string, held?: string, heldAt?: string): Promise<string> {
  const target = join(folder, 'target', NAME)
  await mkdir(dirname(target), { recursive: true })
  if (held === undefined) return target
  const copy = heldAt === undefined ? target : join(folder, heldAt)
  await mkdir(dirname(copy), { recursive: true })
  await run('cp', ['--sparse=always', held, copy])
  return target
}
