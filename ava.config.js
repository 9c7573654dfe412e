export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts'],
  timeout: '5m',
  workerThreads: false,
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
}
