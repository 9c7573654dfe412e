import { createHash } from 'node:crypto'
import test from 'ava'
import fc from 'fast-check'
import type { JobReport, JobState } from '../../agent/reports/job-reports.ts'
import { formatError } from '../../agent/output/error-text.ts'
import { formatShares } from '../../agent/output/job-text.ts'
import { formatStatus } from '../../agent/output/peer-text.ts'
import { ProgressView, formatProgress } from '../../agent/output/progress.ts'
import { createQr, formatQr } from '../../agent/output/qr.ts'
import { createStyle, wantsColor, wantsUnicode } from '../../agent/output/style.ts'
import { formatTable } from '../../agent/output/table.ts'
import { displayWidth, pad, printable, truncate, truncateMiddle } from '../../agent/output/text.ts'
import { FluidError } from '../../protocol/errors.ts'
import { capture } from '../helpers/command-line.ts'
import { fakeComplete, fakeJob, fakeStatus } from '../helpers/fake-agent.ts'

const plain = createStyle({ color: false, unicode: true })
const ascii = createStyle({ color: false, unicode: false })
const colourful = createStyle({ color: true, unicode: true })

const states: JobState[] = [
  'connecting',
  'awaiting-approval',
  'running',
  'paused',
  'reconnecting',
  'verifying',
  'complete',
  'failed',
  'cancelled',
]

test('formatStatus() counts no socket as refused that was closed by who opened it', (t) => {
  const text = formatStatus({ ...fakeStatus, refused: { 'socket-closed': 7, unpaired: 3 } }, plain)
  t.regex(text, /refused +unpaired ×3\n/)
  t.notRegex(text, /socket/)
})

test('formatProgress() shows everything on a wide terminal', (t) => {
  t.is(
    formatProgress(fakeJob, plain, 140, 2),
    '⠹ disk.raw   25%  ████████░░░░░░░░░░░░░░░░░░░░░░░░  2.00 GiB/8.00 GiB  512 MiB/s  wire 80.0 MiB/s  ETA 12.0 s  tls ×4  dedupe 477 MiB',
  )
})

test('formatProgress() keeps what matters most as the terminal narrows', (t) => {
  t.is(
    formatProgress(fakeJob, plain, 80, 2),
    '⠹ disk.raw   25%  █████░░░░░░░░░░░░░░░  2.00 GiB/8.00 GiB  512 MiB/s  ETA 12.0 s',
  )
  t.is(formatProgress(fakeJob, ascii, 60, 2), '- disk.raw   25%  2.00 GiB/8.00 GiB  512 MiB/s  ETA 12.0 s')
  t.is(formatProgress(fakeJob, plain, 24), ' 25%  2.00 GiB/8.00 GiB')
  t.is(formatProgress(fakeJob, plain, 5), ' 25%')
})

test('formatProgress() never exceeds the terminal', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 250 }),
      fc.constantFrom(...states),
      fc.string({ unit: 'grapheme', maxLength: 80 }),
      fc.record({
        doneBytes: fc.nat(2 ** 52),
        logicalBytes: fc.nat(2 ** 52),
        bytesPerSecond: fc.nat(1e12),
        etaSeconds: fc.option(fc.nat(1e9), { nil: undefined }),
      }),
      fc.boolean(),
      (columns, state, name, numbers, color) => {
        const error = { code: 'TIMEOUT', message: name, hint: '', retryable: true, exit: 5 } as const
        const report: JobReport = { ...fakeJob, ...numbers, state, destination: name, peerName: name, error }
        for (const unicode of [true, false]) {
          const line = formatProgress(report, createStyle({ color, unicode }), columns, 3)
          t.true(displayWidth(line) <= columns, `${displayWidth(line)} > ${columns}: ${line}`)
          t.notRegex(line, /\n/)
        }
      },
    ),
  )
})

test('ProgressView redraws one line a job and takes it away', (t) => {
  const { screen, text } = capture(80)
  const view = new ProgressView(screen, plain, { live: true })
  view.update(fakeJob)
  view.update({ ...fakeJob, job: 'job-2' })
  view.update({ ...fakeJob, doneBytes: fakeJob.logicalBytes / 2 })
  t.regex(
    text(),
    /^[^\n]* 25%[^\n]*\r\x1b\[J[^\n]* 25%[^\n]*\n[^\n]* 25%[^\n]*\x1b\[1A\r\x1b\[J[^\n]* 50%[^\n]*\n[^\n]* 25%[^\n]*$/,
  )
  view.clear()
  t.true(text().endsWith('\x1b[1A\r\x1b[J'))
})

test('ProgressView writes plain lines at changes of state without a terminal', (t) => {
  const { screen, text } = capture()
  const view = new ProgressView(screen, plain, { live: false })
  for (let count = 0; count < 100; count++) view.update({ ...fakeJob, doneBytes: count })
  view.update({ ...fakeJob, state: 'paused' })
  view.update(fakeComplete)
  view.clear()
  t.is(text().split('\n').length, 3)
  t.notRegex(text(), /\x1b|\r/)
})

test('formatShares() always fills its bar', (t) => {
  const bytes = fc.nat(2 ** 45)
  fc.assert(
    fc.property(bytes, bytes, bytes, bytes, (sentBytes, wireBytes, dedupedBytes, zeroBytes) => {
      fc.pre(sentBytes + dedupedBytes + zeroBytes > 0)
      const shares = formatShares({ ...fakeJob, sentBytes, wireBytes, dedupedBytes, zeroBytes }, ascii)
      if (shares !== 'nothing to move') t.regex(shares, /^[#%=.]{40} {2}/)
    }),
  )
})

test('formatError() shows code, causes, place and hint', (t) => {
  const cause = new Error('EIO: i/o error, read', { cause: new Error('sector 7') })
  const error = new FluidError('SOURCE_READ', 'Reading /dev/sda failed', { cause, offset: 4096 })
  t.is(
    formatError(error, plain),
    [
      'error: Reading /dev/sda failed',
      '  code  SOURCE_READ',
      '  cause EIO: i/o error, read',
      '  cause sector 7',
      '  at    byte 4096 of the volume',
      '  hint  The source could not be read there; check the disk (dmesg), then resume the job',
      '',
    ].join('\n'),
  )
  t.regex(formatError(error, colourful, { verbose: true }), /\x1b\[31m[^]*at file:/)
})

test('formatTable() shrinks its flexible columns, widest first, and aligns by display width', (t) => {
  const head = [
    { title: 'NAME', flexible: true },
    { title: 'N', align: 'right' as const },
    { title: 'ID', flexible: true },
  ]
  const rows = [
    ['日本語', '1', 'abcdefghijklmnopqrstuvwxyz'],
    ['b', '22', 'short'],
  ]
  t.is(
    formatTable(head, rows, { style: plain }),
    'NAME     N  ID\n日本語   1  abcdefghijklmnopqrstuvwxyz\nb       22  short\n',
  )
  const narrow = formatTable(head, rows, { style: plain, columns: 24 })
  t.is(narrow, 'NAME     N  ID\n日本語   1  abcdef…vwxyz\nb       22  short\n')
})

test('truncate() counts columns, and marks what was cut', (t) => {
  t.is(truncate('日本語', 6), '日本語')
  t.is(truncate('日本語', 5), '日本…')
  t.is(truncate('日本語', 4), '日…')
  t.is(truncate('abc', 0), '')
  t.is(truncateMiddle('/srv/images/disk.raw', 11), '/srv/…k.raw')
  t.is(truncateMiddle('日本語日本語', 7), '日…語')
  t.is(pad('日本', 6, 'left'), '  日本')
})

test('printable() leaves nothing that moves the cursor or reorders text', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      t.notRegex(printable(text), /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u)
    }),
  )
  t.is(printable('a\x1b[31mb\x1b]0;t\x07c\nd'), 'abc d')
})

test('wantsColor() follows --no-color, FORCE_COLOR, NO_COLOR, TERM and the terminal, in that order', (t) => {
  const isTTY = true
  t.true(wantsColor({ TERM: 'xterm' }, { isTTY }))
  t.false(wantsColor({ TERM: 'xterm' }, {}))
  t.false(wantsColor({ TERM: 'dumb' }, { isTTY }))
  t.false(wantsColor({ NO_COLOR: '1' }, { isTTY }))
  t.true(wantsColor({ NO_COLOR: '' }, { isTTY }))
  t.true(wantsColor({ FORCE_COLOR: '1', NO_COLOR: '1' }, {}))
  t.false(wantsColor({ FORCE_COLOR: '0' }, { isTTY }))
  t.false(wantsColor({ FORCE_COLOR: '1' }, { isTTY, noColor: true }))
})

test('wantsUnicode() follows the locale', (t) => {
  t.true(wantsUnicode({ LANG: 'de_CH.UTF-8' }))
  t.true(wantsUnicode({ LANG: 'C', LC_ALL: 'C.utf8' }))
  t.false(wantsUnicode({ LANG: 'de_CH.UTF-8', LC_ALL: 'C' }))
  t.false(wantsUnicode({}))
  t.false(wantsUnicode({ LANG: 'C.UTF-8', TERM: 'dumb' }))
})

// SHA-256 of the modules, row by row, as another implementation draws them (uqr 0.1.3, level M, the same mask).
const codes: readonly [bytes: number, size: number, digest: string][] = [
  [1, 21, 'ab75687b0f61526f819bbea0f062eb8e0a58a4d28b3aa3d9f65a3457ca22ac7a'],
  [20, 25, 'b0266cd3c3a1ae2da5abf3d81a67f0264241f11dcbe325780ee777fbefecdae0'],
  [70, 37, '33cc6e7ba4c88e6d93223b4ba95fd11b83b224abe123ebba51bae9036eb2b5bf'],
  [95, 41, '783c6d2353ad514762b0467b6b885a1bc4cddbcbed57093f219db0b6b9e44e3d'],
  [120, 45, 'c21738b241b4efcd3f6749be1bfc357ef6ab1b0569518998f6c5aefe2dd13cb2'],
  [150, 49, '3f9f9b8c83bb86e972a4cfa3b9dc743a8944fd44de468858c8621690518b7353'],
  [200, 57, 'fdeef34e4f318cf80f03fb3ebfd49e67edc9898f755ab6f6f15c4fc84c72054c'],
]

for (const [bytes, size, digest] of codes) {
  test(`createQr() draws ${bytes} bytes as another implementation does`, (t) => {
    const code = createQr('fluidcloud'.repeat(30).slice(0, bytes))
    t.is(code?.length, size)
    const modules = code?.map((row) => row.map(Number).join('')).join('') ?? ''
    t.is(createHash('sha256').update(modules).digest('hex'), digest)
  })
}

test('createQr() refuses more than 213 bytes', (t) => {
  t.is(createQr('x'.repeat(213))?.length, 57)
  t.is(createQr('x'.repeat(214)), undefined)
})

test('formatQr() has a quiet zone and no other characters than blocks', (t) => {
  const code = createQr('a') ?? []
  const lines = formatQr(code, plain).trimEnd().split('\n')
  t.is(lines.length, Math.ceil((code.length + 4) / 2))
  for (const line of lines) t.is(displayWidth(line), code.length + 4)
  t.regex(lines[0], /^█+$/)
  t.regex(formatQr(code, ascii), /^[# \n]+$/)
})
