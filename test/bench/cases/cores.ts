/** Case cores: case 1 on one core, on two, on four and so on, both ends together: what each core more brings. */
import { availableParallelism } from 'node:os'
import { fluidcloud } from '../contenders/fluidcloud.ts'
import { nbdcopy } from '../contenders/nbd.ts'
import { rsyncOverSsh } from '../contenders/ssh.ts'
import { onCores, openLoopback } from '../line.ts'
import { incompressibleFile } from '../workloads.ts'
import type { Case } from './case.ts'
import { compare, type Summary } from './compare.ts'

const BYTES = 4 * 2 ** 30

export const fewerCores: Case = {
  id: 'cores',
  title: 'a file that does not compress, on some of the cores',
  async run(bench) {
    const { options, report } = bench
    const { cipher, work, sizeBytes = BYTES } = options
    const source = await incompressibleFile(work, sizeBytes)
    await using line = await openLoopback()
    const contenders = [fluidcloud(), nbdcopy({ tls: true }), rsyncOverSsh(['--whole-file'], cipher)].map(
      (contender) => ({ ...contender, needs: [...contender.needs, 'taskset'] }),
    )
    const found: { readonly cores: number; readonly summaries: readonly Summary[] }[] = []
    for (const cores of counts(availableParallelism())) {
      const title = `a file that does not compress, on ${coresOf(cores)}`
      const task = { source, contenders, line: onCores(line, cores), facts: { onCores: cores } }
      found.push({ cores, summaries: await compare({ id: this.id, title, ...task }, bench) })
    }
    const names = [...new Set(found.flatMap(({ summaries }) => summaries.map((each) => each.contender.name)))]
    const row = (name: string, figure: (summary: Summary) => string): string[] =>
      found.map(({ summaries }) => {
        const summary = summaries.find(({ contender }) => contender.name === name)
        return summary ? figure(summary) : ''
      })
    report.table(
      `Case ${this.id}: ${this.title}`,
      ['', ...found.map(({ cores }) => coresOf(cores))],
      names.flatMap((name) => [
        [`${name}, MiB/s`, ...row(name, ({ bytesPerSecond }) => (bytesPerSecond / 2 ** 20).toFixed(0))],
        [`${name}, CPU s/GiB`, ...row(name, ({ cpuSecondsPerGiB }) => cpuSecondsPerGiB.toFixed(2))],
      ]),
      { mark: 'fluidcloud' },
    )
  },
}

/** Powers of two below `most`, and `most`. */
function* counts(most: number): Generator<number> {
  for (let cores = 1; cores < most; cores *= 2) yield cores
  yield most
}

function coresOf(count: number): string {
  return count === 1 ? '1 core' : `${count} cores`
}
