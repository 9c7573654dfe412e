/** So many at once; the others wait, first come, first served. */

export interface Turns {
  /** Resolves when it is the caller's turn, which ends when what it gets is disposed. Rejects with the signal's reason. */
  take(signal?: AbortSignal): Promise<Disposable>
}

export function createTurns(most: number): Turns {
  let running = 0
  const waiting: (() => void)[] = []

  function begin(): Disposable {
    let over = false
    running++
    return {
      [Symbol.dispose]() {
        if (over) return
        over = true
        running--
        waiting.shift()?.()
      },
    }
  }

  return {
    async take(signal) {
      signal?.throwIfAborted()
      if (running < most) return begin()
      const { promise, resolve, reject } = Promise.withResolvers<Disposable>()
      const mine = () => resolve(begin())
      const leave = () => {
        const at = waiting.indexOf(mine)
        if (at === -1) return
        waiting.splice(at, 1)
        reject(signal!.reason as Error)
      }
      waiting.push(mine)
      signal?.addEventListener('abort', leave, { once: true })
      return promise.finally(() => signal?.removeEventListener('abort', leave))
    },
  }
}
