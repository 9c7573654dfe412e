import test from 'ava'
import type { BenchReport } from '../../agent/reports/agent-reports.ts'
import { formatBench } from '../../agent/output/peer-text.ts'
import { createStyle } from '../../agent/output/style.ts'

const style = createStyle({ color: false, unicode: false })
const report: BenchReport = {
  peer: 'boreal',
  roundTripMs: 1,
  bytes: 2 ** 30,
  seconds: 2,
  bytesPerSecond: 2 ** 29,
  lanes: 4,
  path: 'tls',
  cpuSecondsPerGiB: 1.5,
}

test('formatBench() tells what both ends took', (t) => {
  const text = formatBench({ ...report, peerCpuSecondsPerGiB: 1.25 }, style)
  t.regex(text, /CPU here +1\.50 s\/GiB\n/)
  t.regex(text, /CPU there +1\.25 s\/GiB\n/)
})

test('formatBench() says so when the peer does not tell', (t) => {
  t.regex(formatBench(report, style), /CPU there +the peer does not tell\n/)
})
