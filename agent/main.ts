#!/usr/bin/env node
/** The program: this process as a terminal, its arguments, its exit status. */
import { startQuickly } from './quick-start.js'

// Before the rest is loaded, hence the imports that wait; start.js has done it already.
startQuickly(process.env)
const { runCli } = await import('./cli.ts')
const { processTerminal } = await import('./output/terminal.ts')

process.exitCode = await runCli(process.argv.slice(2), processTerminal())
// The command is over, and what it wrote is written; libp2p would keep a stopped agent for another second (a timer).
process.exit()
