/** `receipt` of a relocation, as a person reads it. */
import type { RelocationReceiptReport } from '../reports/relocation-reports.ts'
import type { Style } from './style.ts'
import { formatFields, formatTable } from './table.ts'
import { printable } from './text.ts'

export function formatEvidence(report: RelocationReceiptReport, style: Style, columns?: number): string {
  const { symbols } = style
  const { job, service, state, source, target, bodies, roots, missing } = report
  const broken = bodies.filter(({ valid }) => !valid).map(({ kind }) => kind)
  const verdict = report.signaturesValid
    ? style.green(`${symbols.ok} all valid`)
    : style.red(
        [
          ...(broken.length > 0 ? [`${symbols.fail} not valid: ${broken.join(', ')}`] : []),
          ...(missing.length > 0 ? [`${symbols.fail} missing: ${missing.join(', ')}`] : []),
        ].join('; '),
      )
  const fields = formatFields(
    [
      ['service', `${printable(service)}, ${state}`],
      ['source', source],
      ['target', target],
      ...roots.map(({ machine, disk, root }) => [`${machine}/${disk}`, root] as const),
      ['signatures', verdict],
    ],
    style,
  )
  const table = formatTable(
    [{ title: 'SIGNED' }, { title: 'BY' }, { title: 'SAYS', flexible: true }],
    bodies.map(({ kind, signer, says, valid }) => [
      { text: kind, paint: valid ? style.bold : style.red },
      signer,
      printable(says),
    ]),
    { style, columns },
  )
  return `${style.bold('Receipt')} ${job}\n${fields}\n${table}`
}
