#!/usr/bin/env node
/** The program as it is installed: main.ts, quickly. */
import { startQuickly } from './quick-start.js'

startQuickly(process.env)
await import('./main.ts')
