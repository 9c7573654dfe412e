export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts'],
  timeout: '3m',
  workerThreads: false,
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
}
