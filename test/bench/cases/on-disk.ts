/**
 * Cases 1 and 2 onto the disk of --work. Elsewhere targets are on tmpfs, which leaves the disk out of it; here every contender
 * ends when all is on the disk, as ours always does. No memory is held: what is written may fill the page cache.
 */
import { fluidcloud, fluidcloudAtFirst } from '../contenders/fluidcloud.ts'
import { nbdcopy, qemuImg } from '../contenders/nbd.ts'
import { rsyncOverSsh } from '../contenders/ssh.ts'
import { openLoopback } from '../line.ts'
import { incompressibleFile, realDisks } from '../workloads.ts'
import type { Bench, Case } from './case.ts'
import { compare } from './compare.ts'
import { FAST_CIPHER, INCOMPRESSIBLE_BYTES, ZSTD } from './loopback.ts'

export const incompressibleOnDisk: Case = {
  id: '1d',
  title: 'a file that does not compress, onto a disk, durable at the end',
  async run(bench) {
    const { cipher, work, sizeBytes = INCOMPRESSIBLE_BYTES } = bench.options
    const source = await incompressibleFile(work, sizeBytes)
    await using line = await openLoopback()
    const contenders = [
      fluidcloud(),
      fluidcloudAtFirst(),
      nbdcopy({ tls: true, durable: true }),
      nbdcopy({ tls: false, durable: true }),
      qemuImg({ tls: true, durable: true }),
      rsyncOverSsh(['--whole-file', '--fsync'], cipher),
      rsyncOverSsh(['--whole-file', '--fsync'], FAST_CIPHER),
    ]
    await compare({ id: this.id, title: this.title, source, contenders, line }, ontoDisk(bench))
  },
}

export const realDiskOnDisk: Case = {
  id: '2d',
  title: 'a real disk with its holes, onto a disk, durable at the end',
  async run(bench) {
    const { disk } = await realDisks(bench.options.work, bench.options)
    const { cipher } = bench.options
    await using line = await openLoopback()
    const contenders = [
      fluidcloud(),
      fluidcloudAtFirst(),
      nbdcopy({ tls: true, durable: true }),
      qemuImg({ tls: true, durable: true }),
      rsyncOverSsh(['--sparse', '--fsync', ...ZSTD], cipher),
    ]
    await compare({ id: this.id, title: this.title, source: disk, contenders, line }, ontoDisk(bench))
  },
}

/** Targets beside the sources. */
function ontoDisk(bench: Bench): Bench {
  return { ...bench, options: { ...bench.options, target: bench.options.work } }
}
