/** Cases 1 to 3: whole disks on this machine, where processors and memory are the bound. Source in the page cache. */
import { borg, casync, restic } from '../contenders/backup.ts'
import { rsyncDaemon } from '../contenders/rsync-daemon.ts'
import { iroh } from '../contenders/iroh.ts'
import { nbdcopy, qemuImg } from '../contenders/nbd.ts'
import {
  fluidcloud,
  fluidcloudAtFirst,
  fluidcloudBesideOther,
  fluidcloudWithSeed,
} from '../contenders/fluidcloud.ts'
import { rsyncOverSsh, scp, tarOverSsh } from '../contenders/ssh.ts'
import { syncthing } from '../contenders/syncthing.ts'
import { openLoopback } from '../line.ts'
import { incompressibleFile, qcow2Of, realDisks } from '../workloads.ts'
import type { Case } from './case.ts'
import { compare } from './compare.ts'

export const INCOMPRESSIBLE_BYTES = 4 * 2 ** 30
/** The fastest that OpenSSH has, and the one that our lanes use. */
export const FAST_CIPHER = 'aes128-gcm@openssh.com'
export const ZSTD = ['-z', '--zc=zstd', '--zl=1']

export const incompressible: Case = {
  id: '1',
  title: 'a file that does not compress',
  async run(bench) {
    const { options } = bench
    const { cipher, work, sizeBytes = INCOMPRESSIBLE_BYTES } = options
    const source = await incompressibleFile(work, sizeBytes)
    await using line = await openLoopback()
    const contenders = [
      fluidcloud(),
      fluidcloudAtFirst(),
      nbdcopy({ tls: true }),
      nbdcopy({ tls: false }),
      qemuImg({ tls: true }),
      rsyncDaemon(['--whole-file']),
      rsyncOverSsh(['--whole-file'], cipher),
      rsyncOverSsh(['--whole-file'], FAST_CIPHER),
      scp(cipher),
      scp(FAST_CIPHER),
      syncthing,
      iroh,
    ]
    await compare({ id: this.id, title: this.title, source, contenders, line }, bench)
  },
}

export const realDisk: Case = {
  id: '2',
  title: 'a real disk with its holes',
  async run(bench) {
    const { options } = bench
    const { disk } = await realDisks(options.work, options)
    const { cipher } = options
    await using line = await openLoopback()
    const contenders = [
      fluidcloud(),
      fluidcloud('--compress', 'on'),
      fluidcloudAtFirst(),
      nbdcopy({ tls: true }),
      nbdcopy({ tls: false }),
      qemuImg({ tls: true }),
      rsyncOverSsh(['--sparse', ...ZSTD], cipher),
      tarOverSsh(cipher),
      syncthing,
      restic,
      borg,
      casync,
    ]
    await compare({ id: this.id, title: this.title, source: disk, contenders, line }, bench)
  },
}

export const realDiskImage: Case = {
  id: '2q',
  title: 'the same disk as qcow2, to raw',
  async run(bench) {
    const { options } = bench
    const { disk } = await realDisks(options.work, options)
    const source = await qcow2Of(disk)
    await using line = await openLoopback()
    const contenders = [fluidcloud(), nbdcopy({ tls: true }), nbdcopy({ tls: false }), qemuImg({ tls: true })]
    await compare({ id: this.id, title: this.title, source, contenders, line }, bench)
  },
}

export const upgradedDisk: Case = {
  id: '3',
  title: 'the same disk after an upgrade, over the version before',
  async run(bench) {
    const { options } = bench
    const { disk, upgraded } = await realDisks(options.work, options)
    const { cipher } = options
    const inPlace = ['--inplace', '--no-whole-file']
    await using line = await openLoopback()
    const contenders = [
      fluidcloud(),
      fluidcloud('--in-place'),
      fluidcloud('--compress', 'on'),
      fluidcloud('--in-place', '--compress', 'on'),
      rsyncOverSsh([...inPlace, '-z', '--zc=zstd'], cipher),
      rsyncOverSsh(inPlace, cipher),
      rsyncDaemon([...inPlace, '-z', '--zc=zstd']),
      syncthing,
      restic,
      borg,
    ]
    const task = { source: upgraded, held: disk, contenders, line }
    await compare({ id: this.id, title: this.title, ...task }, bench)
  },
}

export const upgradedElsewhere: Case = {
  id: '3n',
  title: 'the same, where the target holds the version before elsewhere',
  async run(bench) {
    const { options } = bench
    const { disk, upgraded } = await realDisks(options.work, options)
    const { cipher } = options
    await using line = await openLoopback()
    const zstd = ['--sparse', '-z', '--zc=zstd']
    const contenders = [
      // As in case 3: what the others are compared with.
      fluidcloud(),
      fluidcloudBesideOther(),
      fluidcloudWithSeed(),
      ...[fluidcloud, fluidcloudBesideOther, fluidcloudWithSeed].map((of) => of('--compress', 'on')),
      rsyncOverSsh(['--fuzzy', ...zstd], cipher, 'target/disk-before.raw'),
      rsyncOverSsh(['--copy-dest=../seeds', ...zstd], cipher, 'seeds/disk.raw'),
    ]
    const task = { source: upgraded, held: disk, contenders, line }
    await compare({ id: this.id, title: this.title, ...task }, bench)
  },
}
