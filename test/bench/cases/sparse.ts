/** A terabyte of hole with a little data: those that read holes take minutes for it and are left out. */
import { fluidcloud } from '../contenders/fluidcloud.ts'
import { nbdcopy, qemuImg } from '../contenders/nbd.ts'
import { tarOverSsh } from '../contenders/ssh.ts'
import { openLoopback } from '../line.ts'
import { scatteredFile } from '../workloads.ts'
import type { Case } from './case.ts'
import { compare } from './compare.ts'

const SIZE_BYTES = 2 ** 40

export const farApart: Case = {
  id: 'sparse',
  title: '200 MiB of data scattered over a sparse file of 1 TiB',
  async run(bench) {
    const { cipher, work, sizeBytes = SIZE_BYTES } = bench.options
    const source = await scatteredFile(work, sizeBytes)
    await using line = await openLoopback()
    const contenders = [
      fluidcloud(),
      nbdcopy({ tls: true }),
      nbdcopy({ tls: false }),
      qemuImg({ tls: true }),
      tarOverSsh(cipher),
    ]
    await compare({ id: this.id, title: this.title, source, contenders, line }, bench)
  },
}
