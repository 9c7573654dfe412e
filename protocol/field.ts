/** Checks of single fields: what proto3 cannot say. Every one throws PROTOCOL_VIOLATION and names the field. */
import type { Reader } from 'protobufjs'
import { FluidError } from './errors.ts'
import protobuf from './protobuf.ts'

/** The last millisecond a Date can hold. */
export const MAX_TIME_MS = 8_640_000_000_000_000
/** The largest number of a uint32 field. */
export const MAX_UINT32 = 2 ** 32 - 1

/** Control characters, line separators and the bidirectional overrides that make a terminal show another name. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u
const EVERY_UNPRINTABLE = new RegExp(UNPRINTABLE, 'gu')
const TOKEN = /^[A-Za-z0-9][A-Za-z0-9._/+-]{0,63}$/

const utf8 = new TextEncoder()

/** The error of a peer that broke the protocol. */
export function violation(message: string, cause?: unknown): FluidError {
  return new FluidError('PROTOCOL_VIOLATION', message, cause === undefined ? {} : { cause })
}

/** Runs a generated decoder over `bytes`; unknown fields are dropped, malformed bytes are a PROTOCOL_VIOLATION. */
export function decodeMessage<T>(name: string, decode: (reader: Reader) => T, bytes: Uint8Array): T {
  const reader = protobuf.Reader.create(bytes)
  reader.discardUnknown = true
  try {
    return decode(reader)
  } catch (cause) {
    throw violation(`${name} of ${bytes.length} bytes is malformed`, cause)
  }
}

/** A safe integer within [min, max]. */
export function integer(name: string, value: number, min: number, max: number): number {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw violation(`${name} is ${value}, outside ${min} to ${max}`)
  }
  return value
}

/** A copy of exactly `length` bytes, so that no message keeps a receive buffer alive. */
export function fixedBytes(name: string, value: Uint8Array, length: number): Uint8Array {
  if (value.length !== length) throw violation(`${name} is ${value.length} bytes, not ${length}`)
  return Uint8Array.from(value)
}

/** A copy of min to max bytes. */
export function boundedBytes(name: string, value: Uint8Array, min: number, max: number): Uint8Array {
  if (value.length < min || value.length > max) {
    throw violation(`${name} is ${value.length} bytes, outside ${min} to ${max}`)
  }
  return Uint8Array.from(value)
}

/** Printable text of at most `maxBytes` in UTF-8; `min` characters at least. */
export function text(name: string, value: string, maxBytes: number, min = 0): string {
  if (value.length > maxBytes || utf8.encode(value).length > maxBytes) {
    throw violation(`${name} is longer than ${maxBytes} bytes`)
  }
  if (value.length < min) throw violation(`${name} is empty`)
  if (!isPrintable(value)) throw violation(`${name} contains control characters`)
  return value
}

/** A short name from a fixed alphabet, such as zstd or fastcdc-v1/32768-65536-262144. */
export function token(name: string, value: string): string {
  if (!TOKEN.test(value)) throw violation(`${name} is not a name of 1 to 64 letters, digits and ._/+-`)
  return value
}

/** A list of at most `maxCount`, each checked by `check`. */
export function list<T, U>(
  name: string,
  values: readonly T[],
  maxCount: number,
  check: (name: string, value: T) => U,
): U[] {
  if (values.length > maxCount) throw violation(`${name} has ${values.length} items, more than ${maxCount}`)
  return values.map((value) => check(name, value))
}

/** True when a terminal shows the text as it is. */
export function isPrintable(value: string): boolean {
  return value.isWellFormed() && !UNPRINTABLE.test(value)
}

/** Text for people made to fit a field: unprintable characters become spaces, the end is cut. */
export function printable(value: string, maxBytes: number): string {
  const clean = value.toWellFormed().replace(EVERY_UNPRINTABLE, ' ')
  const { read } = utf8.encodeInto(clean, new Uint8Array(maxBytes))
  return clean.slice(0, read)
}
