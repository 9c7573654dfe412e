/**
 * How fast we are: moves of whole disks, against the programs people use for it now. Contenders take turns in one run,
 * and medians are compared. Sources are in the page cache, targets on tmpfs unless --target says otherwise.
 *
 * Usage: npm run bench -- [--case 1,2,3 | all] [--contender PART,...] [--runs 3] [--slow-runs 1] [--size SIZE]
 *   [--work DIR] [--target DIR] [--cipher NAME] [--disk V1 --upgraded V2] [--json FILE] [--no-hold]
 *   [--rate MBIT] [--rtt MS] [--loss PERCENT] [--queue SIZE] [--congestion cubic|bbr]
 *   1   a file of 4 GiB that does not compress       2   a real disk with its holes; 2q: the same as qcow2
 *   3   the same disk after an upgrade, over the version the target holds
 *   3n  the same, where the target holds that version under another name, or as a seed
 *   4   1 GiB that does not compress over a line of 1 Gb/s and 40 ms; --rtt and --loss make it another line
 *   5   the same with losses of 0.1 and 1 %, under BBR and under cubic
 *   6   the real disk over that line
 *   7   a machine of 5.4 GB and its volume of 512 MiB over that line
 *   8   agents killed in the middle of case 1         9   eight jobs at once, and --bwlimit
 *   10  the next move to a receiver that knows 16 million chunks (--chunks)
 *   sparse  a terabyte of hole with 200 MiB of data scattered in it
 * Peers that are not installed are left out, with a line that says so; iroh is used when @number0/iroh 0.35 is found
 * from here or in NODE_PATH. As root everything runs in network namespaces of its own.
 * Where the target is on tmpfs and the host takes free pages back, free memory is held in a file and given out as
 * contenders need it, so that faults on the host are not measured (resident-memory.ts); --no-hold leaves that out.
 * Workloads are made in the work folder when they are not there: always the same bytes, but for the disk, whose packages
 * come from a mirror (make-disk.sh).
 */
import { largeIndex } from './cases/index-size.ts'
import { killed } from './cases/killed.ts'
import { parallelJobs } from './cases/parallel.ts'
import { incompressible, realDisk, realDiskImage, upgradedDisk, upgradedElsewhere } from './cases/loopback.ts'
import { farApart } from './cases/sparse.ts'
import { cleanLine, diskOverLine, lossyLine, machineAndVolume } from './cases/wan.ts'
import { parseOptions } from './options.ts'
import { createReport } from './report.ts'
import { holdFreeMemory, unheldMemory, wantsHeldMemory } from './resident-memory.ts'

const overLoopback = [incompressible, realDisk, realDiskImage, upgradedDisk, upgradedElsewhere]
const overLines = [cleanLine, lossyLine, diskOverLine, machineAndVolume]
const cases = [...overLoopback, ...overLines, killed, parallelJobs, largeIndex, farApart]
const options = parseOptions(
  process.argv.slice(2),
  cases.map(({ id }) => id),
)
const memoryHeld = options.hold && wantsHeldMemory(options.target)
await using memory = memoryHeld ? await holdFreeMemory(options.work) : unheldMemory
const report = createReport(options.json, { memoryHeld })
if (memoryHeld)
  report.progress('Free memory is held and given out as contenders need it; --no-hold leaves that out')
// So that what is to be ended and removed at exit is.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
for (const each of cases.filter(({ id }) => options.cases.includes(id)))
  await each.run({ options, report, memory })
