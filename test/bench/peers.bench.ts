/**
 * How fast we are: moves of whole disks, against the programs people use for it now. Contenders take turns in one run,
 * and medians are compared. `npm run bench -- --help` tells the cases and options (usage.ts).
 *
 * Where the target is on tmpfs and the host takes free pages back, free memory is held in a file and given out as
 * contenders need it, so that faults on the host are not measured (resident-memory.ts).
 */
import type { Bench, Case } from './cases/case.ts'
import { fewerCores } from './cases/cores.ts'
import { largeIndex } from './cases/index-size.ts'
import { killed } from './cases/killed.ts'
import { parallelJobs } from './cases/parallel.ts'
import { incompressible, realDisk, realDiskImage, upgradedDisk, upgradedElsewhere } from './cases/loopback.ts'
import { incompressibleOnDisk, realDiskOnDisk } from './cases/on-disk.ts'
import { farApart } from './cases/sparse.ts'
import { cleanLine, diskOverLine, lossyLine, machineAndVolume } from './cases/wan.ts'
import { parseOptions, type Options } from './options.ts'
import { createReport } from './report.ts'
import { holdFreeMemory, unheldMemory, wantsHeldMemory } from './resident-memory.ts'
import { USAGE } from './usage.ts'

const ontoDisk = [incompressibleOnDisk, realDiskOnDisk]
const overLoopback = [incompressible, realDisk, realDiskImage, upgradedDisk, upgradedElsewhere]
const overLines = [cleanLine, lossyLine, diskOverLine, machineAndVolume]
const others = [...overLoopback, ...overLines, killed, parallelJobs, largeIndex, farApart, fewerCores]
const cases = [...ontoDisk, ...others]
const options = optionsOrExit()
// So that what is to be ended and removed at exit is.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
const isChosen = ({ id }: Case) => options.cases.includes(id)
await runAll(ontoDisk.filter(isChosen), {
  options,
  report: createReport(options.json, { memoryHeld: false }),
  memory: unheldMemory,
})
const chosen = others.filter(isChosen)
const memoryHeld = chosen.length > 0 && options.hold && wantsHeldMemory(options.target)
await using memory = memoryHeld ? await holdFreeMemory(options.work) : unheldMemory
const report = createReport(options.json, { memoryHeld })
if (memoryHeld)
  report.progress('Free memory is held and given out as contenders need it; --no-hold leaves that out')
await runAll(chosen, { options, report, memory })

async function runAll(some: readonly Case[], bench: Bench): Promise<void> {
  for (const each of some) await each.run(bench)
}

function optionsOrExit(): Options {
  const args = process.argv.slice(2)
  if (args.includes('--help')) {
    process.stdout.write(USAGE)
    process.exit(0)
  }
  try {
    return parseOptions(
      args,
      cases.map(({ id }) => id),
    )
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nTry: npm run bench -- --help\n`)
    process.exit(2)
  }
}
