/**
 * Sizes, rates and durations as people write them, and back.
 * Without the i (MB) a unit is decimal, with it (MiB) binary; a bare letter (10G) is binary, as qemu-img has it.
 */
import { FluidError } from '../protocol/errors.ts'

const POWERS = 'KMGTP'
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: MINUTE_MS,
  min: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS,
  w: 7 * DAY_MS,
}

/** Bytes of '10GiB', '500 MB', '64K' or '4096'. Throws USAGE. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kKMGTP])(i?))?(B?)$/.exec(text.trim())
  if (!match)
    throw new FluidError('USAGE', `'${text}' is not a size`, {
      hint: 'Write a size such as 10GiB, 500MB or 64K',
    })
  const [, digits, letter, binary, byte] = match
  return whole(text, Number(digits) * factor(letter, binary === 'i' || byte === ''))
}

/** Bytes a second of '1Gbit/s', '100MiB/s', '800Mbps' or '50M'; at least 1. Throws USAGE. */
export function parseRate(text: string): number {
  const bits = /^(\d+(?:\.\d+)?) ?([kKMGTP])?(i?)(?:bit\/s|bps|bit)$/.exec(text.trim())
  const bytes = bits ? undefined : /^(\d.*?)(?:\/s)?$/.exec(text.trim())
  let rate: number
  if (bits) rate = whole(text, (Number(bits[1]) * factor(bits[2], bits[3] === 'i')) / 8)
  else {
    try {
      rate = parseSize(bytes?.[1] ?? text)
    } catch (cause) {
      throw new FluidError('USAGE', `'${text}' is not a rate`, {
        cause,
        hint: 'Write a rate such as 100MiB/s or 1Gbit/s',
      })
    }
  }
  if (rate < 1)
    throw new FluidError('USAGE', `'${text}' is less than one byte a second`, {
      hint: 'Leave the limit out for no limit',
    })
  return rate
}

/** Milliseconds of '90s', '1h30m', '250ms' or '7d'. A bare number is refused: its unit would be a guess. Throws USAGE. */
export function parseDuration(text: string): number {
  const compact = text.replaceAll(' ', '')
  if (!/^(?:\d+(?:\.\d+)?(?:ms|min|[smhdw]))+$/.test(compact)) {
    throw new FluidError('USAGE', `'${text}' is not a duration`, {
      hint: 'Write a duration such as 30s, 90m, 1h30m or 7d',
    })
  }
  let total = 0
  for (const [, digits, unit] of compact.matchAll(/(\d+(?:\.\d+)?)(ms|min|[smhdw])/g)) {
    total += Number(digits) * DURATION_UNITS[unit]
  }
  return whole(text, total)
}

/** '1.50 GiB', '12.0 MiB', '512 B': three significant digits, binary units. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = -1
  // 999.5 would print as four digits.
  while (value >= 999.5 && unit < POWERS.length - 1) {
    value /= 1024
    unit++
  }
  return unit < 0 ? `${Math.round(value)} B` : `${threeDigits(value)} ${POWERS[unit]}iB`
}

/** Bytes a second as '117 MiB/s'. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`
}

/** Milliseconds as '850 ms', '3.4 s', '2m 05s', '1h 02m' or '3d 4h'. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${pad(seconds % 60)}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h ${pad(minutes % 60)}m`
  return `${Math.floor(minutes / (24 * 60))}d ${Math.floor((minutes / 60) % 24)}h`
}

function factor(letter: string | undefined, binary: boolean): number {
  if (!letter) return 1
  return (binary ? 1024 : 1000) ** (POWERS.indexOf(letter.toUpperCase()) + 1)
}

function whole(text: string, value: number): number {
  const rounded = Math.round(value)
  if (!Number.isSafeInteger(rounded)) throw new FluidError('USAGE', `'${text}' is too large`)
  return rounded
}

function threeDigits(value: number): string {
  return value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2)
}

function pad(value: number): string {
  return String(value).padStart(2, '0')
}
