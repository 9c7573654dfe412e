// Compiles chunker.as.ts: `node transfer/wasm/build.js [OUT]`; OUT defaults to chunker.wasm beside it, which is committed.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const beside = (name) => fileURLToPath(new URL(name, import.meta.url))
const asc = fileURLToPath(import.meta.resolve('assemblyscript/bin/asc.js'))
const out = process.argv[2] ?? beside('chunker.wasm')
execFileSync(
  process.execPath,
  [
    asc,
    beside('chunker.as.ts'),
    '--outFile',
    out,
    '-O3',
    '--noAssert',
    '--runtime',
    'stub',
    '--importMemory',
    '--enable',
    'simd',
    '--enable',
    'relaxed-simd',
  ],
  { stdio: 'inherit' },
)
