/** NBD, as hypervisors move disks: a server over the source, and a client that copies from it. The receiver dials. */
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Contender } from '../contender.ts'
import type { End } from '../line.ts'
import { measure } from '../meter.ts'
import { freePort } from '../../helpers/free-port.ts'
import { runToEnd, startServer, type Server } from '../processes.ts'
import { run } from '../../helpers/programs.ts'
import { prepareTarget } from './ssh.ts'

const CERTIFICATE_DAYS = 2

interface Options {
  readonly tls: boolean
  /** Ends when what it wrote is on the disk. */
  readonly durable?: boolean
  /** The client's connections; its own choice unless given. */
  readonly connections?: number
}

/** nbdcopy from nbdkit, or from qemu-nbd when the source is not raw. */
export function nbdcopy({ tls, durable = false, connections }: Options): Contender {
  const limit = connections === undefined ? [] : [`--connections=${connections}`]
  const flush = durable ? ['--flush'] : []
  return overNbd({
    name: ['nbdcopy', ...(tls ? ['TLS'] : []), ...limit, ...flush].join(' '),
    tls,
    needs: ['nbdcopy'],
    command: ({ address, port, keys }, target) => [
      'nbdcopy',
      ...limit,
      ...flush,
      tls ? `nbds://${address}:${port}/?tls-certificates=${keys}` : `nbd://${address}:${port}/`,
      target,
    ],
  })
}

/** qemu-img convert, the way of OpenStack and of many scripts; durable: past the page cache. */
export function qemuImg({ tls, durable = false }: Omit<Options, 'connections'>): Contender {
  const cache = durable ? ['-t', 'none'] : []
  return overNbd({
    name: [tls ? 'qemu-img NBD TLS' : 'qemu-img NBD', ...cache].join(' '),
    tls,
    needs: ['qemu-img'],
    command: ({ address, port, keys }, target) => [
      'qemu-img',
      'convert',
      '-W',
      ...cache,
      ...(tls ? ['--object', `tls-creds-x509,id=tls,dir=${keys},endpoint=client`] : []),
      '--image-opts',
      `driver=nbd,server.type=inet,server.host=${address},server.port=${port}${tls ? ',tls-creds=tls' : ''}`,
      '-O',
      'raw',
      target,
    ],
  })
}

interface Export {
  readonly address: string
  readonly port: number
  /** Folder with the client's certificates; not there without TLS. */
  readonly keys: string
}

interface Client {
  readonly name: string
  readonly tls: boolean
  readonly needs: readonly string[]
  command(from: Export, target: string): readonly string[]
}

function overNbd({ name, tls, needs, command }: Client): Contender {
  return {
    name,
    needs: [...needs, 'nbdkit', ...(tls ? ['certtool'] : [])],
    traits: { verified: false, encrypted: tls, resumable: false },
    async move({ source, folder, line }) {
      const target = await prepareTarget(folder)
      const { sender, receiver } = line
      const keys = join(folder, 'tls')
      if (tls) await makeKeys(keys, sender.address)
      const port = await freePort()
      await using _server = await serve(sender, port, source, tls ? keys : undefined)
      const [program, ...args] = command({ address: sender.address, port, keys }, target)
      const { figures } = await measure(line, () => runToEnd(receiver, program, args))
      return { ...figures, target }
    },
  }
}

function serve(end: End, port: number, source: string, keys: string | undefined): Promise<Server> {
  if (source.endsWith('.qcow2')) {
    const tls = keys
      ? ['--object', `tls-creds-x509,id=tls,dir=${keys},endpoint=server`, '--tls-creds=tls']
      : []
    const options = [`--bind=${end.address}`, `--port=${port}`, '--persistent', '--read-only', '--shared=8']
    return startServer(end, port, 'qemu-nbd', [...options, ...tls, '--format=qcow2', source])
  }
  const tls = keys ? ['--tls=require', `--tls-certificates=${keys}`] : []
  const options = [
    '--foreground',
    '--exit-with-parent',
    '--readonly',
    `--ipaddr=${end.address}`,
    `--port=${port}`,
  ]
  return startServer(end, port, 'nbdkit', [...options, ...tls, 'file', source])
}

/** An authority, and a certificate for either end, under the names that nbdkit, libnbd and QEMU look for. */
async function makeKeys(folder: string, address: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const at = (name: string): string => join(folder, name)
  const certtool = (...args: string[]) => run('certtool', args)
  const template = async (name: string, ...lines: string[]): Promise<string> => {
    const text = ['cn = "bench"', `expiration_days = ${CERTIFICATE_DAYS}`, ...lines, ''].join('\n')
    await writeFile(at(name), text)
    return at(name)
  }
  // Of RSA, as the manuals of nbdkit and QEMU show it.
  const newKey = (name: string) =>
    certtool('--generate-privkey', '--key-type=rsa', '--bits=2048', '--outfile', at(name))
  await newKey('ca-key.pem')
  const authority = ['--load-ca-certificate', at('ca-cert.pem'), '--load-ca-privkey', at('ca-key.pem')]
  const ca = await template('ca.info', 'ca', 'cert_signing_key')
  const own = ['--load-privkey', at('ca-key.pem')]
  await certtool('--generate-self-signed', ...own, '--template', ca, '--outfile', at('ca-cert.pem'))
  for (const role of ['server', 'client']) {
    await newKey(`${role}-key.pem`)
    const usage = ['signing_key', 'encryption_key', `tls_www_${role}`]
    const info = await template(`${role}.info`, `ip_address = ${address}`, ...usage)
    const key = ['--load-privkey', at(`${role}-key.pem`)]
    const options = [...authority, ...key, '--template', info]
    await certtool('--generate-certificate', ...options, '--outfile', at(`${role}-cert.pem`))
  }
  // Kept out of the way of servers that read the whole folder.
  await rename(at('ca-key.pem'), `${folder}-ca-key.pem`)
}
