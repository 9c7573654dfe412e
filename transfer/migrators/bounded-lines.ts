/** Lines of a stream that nobody trusts: each of bounded length, and bounded all together. */
import type { Readable } from 'node:stream'

export interface LineBounds {
  readonly maxLine: number
  readonly maxTotal: number
}

/** Without their ends; what follows the last end is dropped. Throws an Error that ends a sentence. */
export async function* linesOfStream(
  stream: Readable,
  { maxLine, maxTotal }: LineBounds,
): AsyncGenerator<string, undefined, undefined> {
  let parts: Buffer[] = []
  let length = 0
  let total = 0
  for await (const bytes of stream as AsyncIterable<Buffer>) {
    total += bytes.length
    if (total > maxTotal) throw new Error(`said more than ${maxTotal} bytes`)
    let at = 0
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, at)) {
      if (length + end - at > maxLine) throw new Error(`said a line of more than ${maxLine} bytes`)
      yield Buffer.concat([...parts, bytes.subarray(at, end)]).toString()
      ;[parts, length] = [[], 0]
      at = end + 1
    }
    parts.push(Buffer.from(bytes.subarray(at)))
    length += bytes.length - at
    if (length > maxLine) throw new Error(`said a line of more than ${maxLine} bytes`)
  }
  return undefined
}
