/** Cuts a stream of bytes into lines of bounded length. */
import { MAX_SOCKET_LINE_BYTES } from '../../protocol/limits.ts'
import { FluidError } from '../../protocol/errors.ts'

/**
 * Lines without their newline, in order; an unfinished last line is dropped.
 * Throws LIMIT_EXCEEDED when a line grows past `maxBytes` before its newline has come.
 */
export async function* readLines(
  chunks: AsyncIterable<Buffer>,
  maxBytes: number = MAX_SOCKET_LINE_BYTES,
): AsyncGenerator<string> {
  let parts: Buffer[] = []
  let heldBytes = 0
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end)
      checkLength(heldBytes + piece.length, maxBytes)
      yield parts.length === 0 ? piece.toString() : Buffer.concat([...parts, piece]).toString()
      parts = []
      heldBytes = 0
      start = end + 1
    }
    if (start === chunk.length) continue
    heldBytes += chunk.length - start
    checkLength(heldBytes, maxBytes)
    parts.push(chunk.subarray(start))
  }
}

function checkLength(lengthBytes: number, maxBytes: number): void {
  if (lengthBytes > maxBytes) {
    throw new FluidError('LIMIT_EXCEEDED', `A line of more than ${maxBytes} bytes was sent`)
  }
}
