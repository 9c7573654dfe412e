/** `verify` and `receipt`: proof of what was moved. */
import type { Command } from 'commander'
import { ERRORS, FluidError } from '../../protocol/errors.ts'
import type { VerifyReport } from '../reports/job-reports.ts'
import { formatEvidence } from '../output/evidence-text.ts'
import { formatReceipt, formatVerdict } from '../output/job-text.ts'
import { errorFields } from '../output/ndjson.ts'
import { agentAction, describe, type Runtime } from './command.ts'

/** Adds `verify` and `receipt`. */
export function addProofCommands(program: Command, runtime: Runtime): void {
  describe(
    program
      .command('verify')
      .argument('<job>', 'the job, on either side')
      .option('--deep', 'drop cached pages first, so that both are read from disk'),
    'Read both ends of a finished job again and compare their roots',
    'The root commits to every byte and every hole. Exits 6 when the two ends differ.',
    ['fluidcloud verify JOB', 'fluidcloud verify JOB --deep'],
  ).action(
    agentAction(runtime, async (context, agent, job: string, options: { deep?: boolean }) => {
      const report = await agent.verify({ job, deep: options.deep === true })
      const root = report.match ? (report.targetRoot ?? report.sourceRoot ?? null) : null
      context.report('verify', { ...report, root }, (style) => formatVerdict(report, style))
      if (report.match) return 0
      const error = mismatchOf(report)
      context.emit('error', errorFields(error))
      return error.exit
    }),
  )
  describe(
    program.command('receipt').argument('<job>', 'the job, on either side'),
    'Show what a finished job moved, with both signatures',
    'Sizes, roots, bytes for each path, times; signed by sender and receiver, and kept by both. Of a relocation: who asked for what, handed which disks over, found it healthy, and gave it up.',
    ['fluidcloud receipt JOB', 'fluidcloud receipt JOB --json > receipt.json'],
  ).action(
    agentAction(runtime, async (context, agent, job: string) => {
      const receipt = await agent.receipt({ job }).catch(async (error: unknown) => {
        if (!(error instanceof FluidError) || error.code !== 'JOB_UNKNOWN') throw error
        return await agent.relocationReceipt({ job }).catch((other: unknown) => {
          throw other instanceof FluidError && other.code === 'JOB_UNKNOWN' ? error : other
        })
      })
      if ('bodies' in receipt) {
        context.report('receipt', receipt, (style, columns) => formatEvidence(receipt, style, columns))
        return receipt.signaturesValid ? 0 : ERRORS.VERIFY_MISMATCH.exit
      }
      context.report('receipt', receipt, (style) => formatReceipt(receipt, style))
      return receipt.signaturesValid ? 0 : ERRORS.VERIFY_MISMATCH.exit
    }),
  )
}

function mismatchOf({ job, reasons }: VerifyReport): FluidError {
  const [reason] = reasons
  if (reason) return new FluidError(reason.code, reason.message, { hint: reason.hint })
  return new FluidError('VERIFY_MISMATCH', `The two ends of job ${job} differ`)
}
