#!/usr/bin/env node
/** The program: this process as a terminal, its arguments, its exit status. */
import { runCli } from './cli.ts'
import { processTerminal } from './output/terminal.ts'

process.exitCode = await runCli(process.argv.slice(2), processTerminal())
