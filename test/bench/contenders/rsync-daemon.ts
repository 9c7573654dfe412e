/** rsync to a daemon at the receiving end: its own protocol, nothing encrypted. */
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Contender } from '../contender.ts'
import { measure } from '../meter.ts'
import { freePort } from '../../helpers/free-port.ts'
import { runToEnd, startServer } from '../processes.ts'
import { prepareTarget } from './ssh.ts'

/** With the options of the case. */
export function rsyncDaemon(options: readonly string[]): Contender {
  return {
    name: ['rsync daemon', ...options].join(' '),
    needs: ['rsync'],
    traits: { verified: true, encrypted: false, resumable: true },
    async move({ source, held, folder, line }) {
      const target = await prepareTarget(folder, held)
      const { sender, receiver } = line
      const [port, config] = [await freePort(), join(folder, 'rsyncd.conf')]
      await writeFile(config, configOf(dirname(target)))
      const daemon = ['--daemon', '--no-detach', `--config=${config}`]
      await using _daemon = await startServer(receiver, port, 'rsync', [
        ...daemon,
        `--port=${port}`,
        `--address=${receiver.address}`,
      ])
      const url = `rsync://${receiver.address}:${port}/target/disk.raw`
      const { figures } = await measure(line, () => runToEnd(sender, 'rsync', [...options, source, url]))
      return { ...figures, target }
    },
  }
}

function configOf(folder: string): string {
  return [
    'use chroot = no',
    'reverse lookup = no',
    '[target]',
    `path = ${folder}`,
    'read only = no',
    `uid = ${process.getuid?.() ?? 0}`,
    `gid = ${process.getgid?.() ?? 0}`,
    '',
  ].join('\n')
}
