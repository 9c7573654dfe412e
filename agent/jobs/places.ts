/** A fixed number of places. Who finds none waits in line, or leaves it. */

export interface Places {
  /** A place until it is disposed; when `leave` aborts first, none, and the caller goes on without. */
  take(leave: AbortSignal): Promise<Disposable>
}

/** `count` places, all free. */
export function createPlaces(count: number): Places {
  let free = count
  const line: (() => void)[] = []
  const place = (): Disposable => {
    let held = true
    return {
      [Symbol.dispose]() {
        if (!held) return
        held = false
        const next = line.shift()
        if (next) next()
        else free++
      },
    }
  }
  return {
    async take(leave) {
      if (leave.aborted) return { [Symbol.dispose]() {} }
      if (free > 0) {
        free--
        return place()
      }
      return await new Promise((resolve) => {
        const given = () => {
          leave.removeEventListener('abort', left)
          resolve(place())
        }
        const left = () => {
          line.splice(line.indexOf(given), 1)
          resolve({ [Symbol.dispose]() {} })
        }
        line.push(given)
        leave.addEventListener('abort', left, { once: true })
      })
    },
  }
}
