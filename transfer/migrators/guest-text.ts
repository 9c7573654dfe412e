/** A guest's file as text, and back: what is not edited keeps its very bytes, whatever its encoding. */

export interface GuestText {
  readonly text: string
  bytes(text: string): Uint8Array
}

/** UTF-8, or else one character a byte, as a file in any 8-bit code has. */
export function readText(bytes: Uint8Array): GuestText {
  const encoding = isUtf8(bytes) ? 'utf8' : 'latin1'
  return {
    text: Buffer.from(bytes).toString(encoding),
    bytes: (text) => Uint8Array.from(Buffer.from(text, encoding)),
  }
}

/** Undefined for what people do not read as text. */
export function asShownText(bytes: Uint8Array): string | undefined {
  return isUtf8(bytes) && !bytes.includes(0) ? Buffer.from(bytes).toString('utf8') : undefined
}

function isUtf8(bytes: Uint8Array): boolean {
  // Not TextDecoder: it takes a byte order mark away.
  const text = Buffer.from(bytes).toString('utf8')
  return !text.includes('\uFFFD') || Buffer.from(text, 'utf8').equals(bytes)
}

/** Lines with their ends, which are kept: joined they are the text again. */
export function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? []
}

/** The end of lines in `text`. */
export function lineEnd(text: string): '\n' | '\r\n' {
  return /\r\n/.test(text) ? '\r\n' : '\n'
}

/** `text` with an end at its last line, so that another can follow. */
export function endedText(text: string): string {
  return text === '' || text.endsWith('\n') ? text : text + lineEnd(text)
}
