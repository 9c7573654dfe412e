/** What `npm run bench -- --help` prints. */
export const USAGE = `Usage: npm run bench -- [options]

Moves of whole disks, against the programs people use for it now. Contenders take turns; medians are compared. Sources are in
the page cache. Peers that are not installed are left out, with a line that says so; iroh is used when @number0/iroh 0.35
is found from here or in NODE_PATH. As root everything runs in network namespaces of its own.

Cases:
  1       a file of 4 GiB that does not compress; 1d: onto the disk of --work, durable at the end
  2       a real disk with its holes; 2d: onto a disk; 2q: the same as qcow2
  3       the same disk after an upgrade, over the version the target holds
  3n      the same, where the target holds that version under another name, or as a seed
  4       1 GiB that does not compress over a line of 1 Gb/s and 40 ms; --rtt and --loss make it another line
  5       the same with losses of 0.1 and 1 %, under BBR and under cubic
  6       the real disk over that line
  7       a machine of 5.4 GB and its volume of 512 MiB over that line
  8       agents killed in the middle of case 1
  9       eight jobs at once, and --bwlimit
  10      the next move to a receiver that knows 16 million chunks
  sparse  a terabyte of hole with 200 MiB of data scattered in it
  cores   case 1 on one core, on two, on four and so on; needs taskset

Options:
  --case LIST            cases, or all (1,2,3)
  --contender LIST       only contenders whose names have one of these parts; all of ours have fluidcloud
  --runs N               turns of each contender (3)
  --slow-runs N          turns of those that take minutes (1)
  --size SIZE            of the incompressible files
  --chunks N             that the index of case 10 knows
  --work DIR             where workloads are made and kept: always the same bytes, but for the disk, whose packages come
                         from a mirror
  --target DIR           where targets are written and removed (/dev/shm)
  --no-hold              holds no free memory, where the host takes free pages back
  --disk V1 --upgraded V2  two versions of a disk to use
  --cipher NAME          of ssh
  --rate MBIT --rtt MS --loss PERCENT --queue SIZE --congestion cubic|bbr
                         of the line in the cases that have one
  --json FILE            where the JSON lines go, in place of standard output
`
