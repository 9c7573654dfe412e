/** Cases 4 to 7: over a line of 1 Gb/s, where what is not sent counts, and how well the line is filled. */
import { fluidcloud, fluidcloudTogether } from '../contenders/fluidcloud.ts'
import { oneAfterTheOther } from '../contenders/one-after-the-other.ts'
import { iperf3 } from '../contenders/iperf.ts'
import { iroh } from '../contenders/iroh.ts'
import { nbdcopy } from '../contenders/nbd.ts'
import { rsyncOverSsh } from '../contenders/ssh.ts'
import { syncthing } from '../contenders/syncthing.ts'
import type { Contender } from '../contender.ts'
import { noWanLine, openWanLine, type LineShape, type WanLine } from '../wan/wan-line.ts'
import { databaseVolume, incompressibleFile, machineDisk, realDisks } from '../workloads.ts'
import type { Bench, Case } from './case.ts'
import { compare } from './compare.ts'

const MiB = 2 ** 20
const GIGABIT: LineShape = { rateMbit: 1000, roundTripMs: 40, lossPercent: 0, congestion: 'cubic' }
/** Until the first losses every connection is fast: a short reference would flatter few of them. */
const LOSSY_REFERENCE_SECONDS = 20

/** An incompressible file of this size, and a smaller one for those with one connection, which losses slow down. */
interface Sizes {
  readonly bytes: number
  readonly oneStreamBytes: number
}

export const cleanLine: Case = {
  id: '4',
  title: 'a file that does not compress, over a line',
  async run(bench) {
    const { options } = bench
    await overLine(bench, {}, async (line, shape) => {
      const source = await incompressibleFile(options.work, options.sizeBytes ?? 1024 * MiB)
      const contenders = [
        fluidcloud(),
        fluidcloud('--streams', '16'),
        ...[1, 4, 16].map((streams) => iperf3(streams)),
        nbdcopy({ tls: true, connections: 1 }),
        nbdcopy({ tls: true }),
        rsyncOverSsh(['--whole-file'], options.cipher),
        syncthing,
        iroh,
      ]
      const title = `${this.title} of ${describe(shape)}`
      await compare({ id: this.id, title, source, contenders, line, facts: { ...shape } }, bench)
    })
  },
}

export const lossyLine: Case = {
  id: '5',
  title: 'a file that does not compress, over a line with losses',
  async run(bench) {
    const { options } = bench
    const losses: (Pick<LineShape, 'congestion' | 'lossPercent'> & Sizes)[] = [
      { congestion: 'bbr', lossPercent: 0.1, bytes: 1024 * MiB, oneStreamBytes: 512 * MiB },
      { congestion: 'bbr', lossPercent: 1, bytes: 1024 * MiB, oneStreamBytes: 512 * MiB },
      { congestion: 'cubic', lossPercent: 0.1, bytes: 256 * MiB, oneStreamBytes: 16 * MiB },
      { congestion: 'cubic', lossPercent: 1, bytes: 64 * MiB, oneStreamBytes: 4 * MiB },
    ]
    const { congestion, lossPercent } = options.line
    for (const { bytes, oneStreamBytes, ...loss } of losses) {
      if ((congestion ?? loss.congestion) !== loss.congestion) continue
      if ((lossPercent ?? loss.lossPercent) !== loss.lossPercent) continue
      await overLine(bench, loss, async (line, shape) => {
        const source = await incompressibleFile(options.work, options.sizeBytes ?? bytes)
        const smaller = await incompressibleFile(
          options.work,
          Math.min(options.sizeBytes ?? bytes, oneStreamBytes),
        )
        const reference = (streams: number) => iperf3(streams, LOSSY_REFERENCE_SECONDS)
        const withLess = (contender: Contender) => ({ ...contender, source: smaller })
        const contenders = [
          fluidcloud(),
          fluidcloud('--streams', '16'),
          ...[4, 16, 32, 64].map(reference),
          withLess(reference(1)),
          withLess(nbdcopy({ tls: true, connections: 1 })),
          withLess(rsyncOverSsh(['--whole-file'], options.cipher)),
        ]
        const title = `${this.title}, ${describe(shape)}`
        await compare({ id: this.id, title, source, contenders, line, facts: { ...shape } }, bench)
      })
    }
  },
}

export const diskOverLine: Case = {
  id: '6',
  title: 'a real disk with its holes, over a line',
  async run(bench) {
    const { options } = bench
    const { disk: source } = await realDisks(options.work, options)
    await overLine(bench, {}, async (line, shape) => {
      const contenders = [
        fluidcloud(),
        fluidcloud('--compress', 'on'),
        // What its data bytes take on the bare line.
        iperf3(4),
        nbdcopy({ tls: true }),
        rsyncOverSsh(['--sparse', '-z', '--zc=zstd', '--zl=1'], options.cipher),
      ]
      const title = `${this.title} of ${describe(shape)}`
      await compare({ id: this.id, title, source, contenders, line, facts: { ...shape } }, bench)
    })
  },
}

export const machineAndVolume: Case = {
  id: '7',
  title: 'a machine of 5.4 GB and its volume of 512 MiB, over a line',
  async run(bench) {
    const { options } = bench
    const { disk } = await realDisks(options.work, options)
    const [machine, volume] = [await machineDisk(options.work, disk), await databaseVolume(options.work)]
    await overLine(bench, {}, async (line, shape) => {
      const contenders = [
        fluidcloudTogether(volume),
        oneAfterTheOther(fluidcloud(), volume),
        oneAfterTheOther(iperf3(4), volume),
        oneAfterTheOther(nbdcopy({ tls: true }), volume),
        oneAfterTheOther(rsyncOverSsh(['--sparse', '-z', '--zc=zstd', '--zl=1'], options.cipher), volume),
      ]
      const title = `${this.title} of ${describe(shape)}`
      const task = { source: machine, besides: [volume], contenders, line }
      await compare({ id: this.id, title, ...task, facts: { ...shape } }, bench)
    })
  },
}

/** Opens the line of the case, as the command line changes it; leaves the case out where there can be none. */
export async function overLine(
  { options, report }: Bench,
  differs: Partial<LineShape>,
  action: (line: WanLine, shape: LineShape) => Promise<void>,
): Promise<void> {
  const reason = noWanLine()
  if (reason !== undefined) return report.progress(`Left out a case over an emulated line: ${reason}`)
  const shape = { ...GIGABIT, ...differs, ...options.line }
  await using line = await openWanLine(shape, options.work)
  await action(line, shape)
}

export function describe({ rateMbit, roundTripMs, lossPercent, congestion }: LineShape): string {
  return `${rateMbit} Mb/s, ${roundTripMs} ms, ${lossPercent} % loss, ${congestion}`
}
