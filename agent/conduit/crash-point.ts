/** Named points at which tests kill the agent: FLUIDCLOUD_CRASH_AT in its environment has SIGKILL come there, once. */

const at = process.env.FLUIDCLOUD_CRASH_AT

/** Does nothing, unless a test wants the agent dead here. */
export function crashPoint(name: string): void {
  if (at === name) process.kill(process.pid, 'SIGKILL')
}
