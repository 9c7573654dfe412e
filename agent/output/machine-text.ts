/** Machines of this agent's clouds as a person reads them. */
import type { MachineReport } from '../reports/machine-report.ts'
import { formatBytes } from '../units.ts'
import type { Style } from './style.ts'
import { formatTable } from './table.ts'
import { count } from './text.ts'

/** One row a machine. */
export function formatMachines(machines: readonly MachineReport[], style: Style, columns?: number): string {
  if (machines.length === 0) return 'No machines\n'
  return formatTable(
    [
      { title: 'MACHINE', flexible: true },
      { title: 'STATE' },
      { title: 'CLOUD' },
      { title: 'CPUS', align: 'right' },
      { title: 'MEMORY', align: 'right' },
      { title: 'DISKS' },
    ],
    machines.map(({ name, state, cloud, vcpus, memoryBytes, disks }) => [
      { text: name, paint: style.bold },
      { text: state, paint: state === 'running' ? style.green : style.dim },
      cloud,
      `${vcpus}`,
      formatBytes(memoryBytes),
      `${count(disks.length, 'disk')}, ${formatBytes(disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0))}`,
    ]),
    { style, columns },
  )
}

/** `✔ web is running`. */
export function formatMachine({ name, state, cloud }: MachineReport, style: Style): string {
  return `${style.green(style.symbols.ok)} ${style.bold(name)} is ${state} (${cloud})\n`
}
