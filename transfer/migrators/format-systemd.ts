/**
 * Units of systemd and their drop-ins. A key is Section.Name; Service.Environment.VARIABLE is one variable among the
 * assignments there. Of keys that stand several times (ExecStartPre) a number says which.
 */
import {
  asString,
  type ConfigFormat,
  flatExpected,
  type FlatFacts,
  flatFacts,
  type Key,
  showKey,
  splice,
  unsupported,
} from './config-format.ts'
import { endedText } from './guest-text.ts'
import { quoteWord, unitWords } from './unit-words.ts'

interface UnitLine {
  readonly key: readonly [section: string, name: string]
  /** With its continuation lines as they are. */
  readonly value: string
  readonly start: number
  readonly end: number
  readonly next: number
}

interface Wanted {
  readonly section: string
  readonly name: string
  /** In Environment. */
  readonly variable?: string
  readonly at?: number
}

/** Of a command only one may be set, unless the ones before are cleared first. */
const COMMANDS = new Set(['ExecStart', 'ExecStop', 'ExecReload'])

export const systemdFormat: ConfigFormat = {
  parseKey: (text) => text.split('.', 3),
  get(text, key) {
    const wanted = wantedOf(key)
    if (wanted.variable !== undefined) return variable(text, wanted)?.value
    return line(text, wanted)?.value
  },
  set(text, key, value) {
    const wanted = wantedOf(key)
    const content = asString(value, key)
    if (wanted.variable !== undefined) {
      const assignment = quoteWord(`${wanted.variable}=${content}`)
      const found = variable(text, wanted)
      if (found) return splice(text, found.start, found.end, assignment)
      return added(text, wanted, [`Environment=${assignment}`])
    }
    const found = line(text, wanted)
    if (found) return splice(text, found.start, found.end, content)
    if (wanted.at !== undefined) throw unsupported(`${showKey(key)} does not stand there so often`)
    // In a drop-in a command is added to those of the unit, unless they are cleared.
    const clears = COMMANDS.has(wanted.name) && !lines(text).some(({ key: [section] }) => section === 'Unit')
    return added(text, wanted, [...(clears ? [`${wanted.name}=`] : []), `${wanted.name}=${content}`])
  },
  facts(text) {
    const facts = flatFacts(factsOf(text))
    for (const [key, values] of facts)
      if (COMMANDS.has((JSON.parse(key) as string[])[1]))
        facts.set(key, values.slice(values.lastIndexOf('') + 1))
    return facts
  },
  expected(facts, key, value) {
    const { section, name, variable: of, at } = wantedOf(key)
    if (of !== undefined) return flatExpected(facts as FlatFacts, [section, name, of], asString(value, key))
    return flatExpected(facts as FlatFacts, [section, name], asString(value, key), at)
  },
}

function wantedOf(key: Key): Wanted {
  const [section, name, third] = key
  const isName = (part: unknown) => typeof part === 'string' && /^[A-Za-z][\w-]*$/.test(part)
  if (key.length < 2 || key.length > 3 || typeof section !== 'string' || !isName(section) || !isName(name))
    throw unsupported(`${showKey(key)} is no section and name of a unit`)
  const wanted = { section, name: String(name) }
  if (name === 'Environment') {
    if (typeof third !== 'string' || !/^[A-Za-z_]\w*$/.test(third))
      throw unsupported(`${showKey(key)} names no variable in Environment`)
    return { ...wanted, variable: third }
  }
  if (third !== undefined && typeof third !== 'number')
    throw unsupported(`${showKey(key)} is no key of a unit`)
  return { ...wanted, at: third }
}

/** The one line of that name; clearing assignments do not count where none is asked for by number. */
function line(text: string, { section, name, at }: Wanted): UnitLine | undefined {
  const found = lines(text).filter(({ key: [s, n] }) => s === section && n === name)
  if (at !== undefined) return found[at]
  const real = found.filter(({ value }) => value !== '')
  if (real.length > 1) throw unsupported(`${section}.${name} stands there ${real.length} times: say which`)
  return real.at(0) ?? (found.length === 1 ? found[0] : undefined)
}

function variable(text: string, wanted: Wanted): { value: string; start: number; end: number } | undefined {
  for (const { key, value, start } of lines(text).toReversed()) {
    if (key[0] !== wanted.section || key[1] !== 'Environment') continue
    const word = unitWords(value).findLast((each) => each.text.startsWith(`${wanted.variable}=`))
    if (word)
      return {
        value: word.text.slice(wanted.variable!.length + 1),
        start: start + word.start,
        end: start + word.end,
      }
  }
  return undefined
}

function* factsOf(text: string): Generator<{ key: readonly string[]; value: string }> {
  for (const { key, value } of lines(text)) {
    if (key[1] !== 'Environment') yield { key, value }
    else
      for (const word of unitWords(value)) {
        const [name, ...rest] = word.text.split('=')
        yield { key: [...key, name], value: rest.join('=') }
      }
  }
}

function added(text: string, { section }: Wanted, more: readonly string[]): string {
  const own = lines(text).findLast(({ key: [s] }) => s === section)
  const header = new RegExp(`^\\[${section}\\][^\\n]*(?:\\n|$)`, 'm').exec(text)
  const at = own?.next ?? (header ? header.index + header[0].length : undefined)
  const content = more.map((each) => `${each}\n`).join('')
  if (at !== undefined) return endedText(text.slice(0, at)) + content + text.slice(at)
  const above = endedText(text)
  return `${above}${above === '' ? '' : '\n'}[${section}]\n${content}`
}

function lines(text: string): UnitLine[] {
  const found: UnitLine[] = []
  let section = ''
  let at = 0
  while (at < text.length) {
    const end = endOfLine(text, at)
    const content = text.slice(at, end)
    const [, header] = /^\s*\[([^\]]*)\]/.exec(content) ?? []
    if (header !== undefined) section = header
    const [begun, name] = /^[ \t]*([A-Za-z][\w-]*)[ \t]*=[ \t]*/.exec(content) ?? []
    let next = end
    if (begun !== undefined) {
      while (text.slice(at, next).endsWith('\\') && next < text.length) next = endOfLine(text, next + 1)
      const value = text.slice(at + begun.length, next).trimEnd()
      const start = at + begun.length
      found.push({
        key: [section, name],
        value,
        start,
        end: start + value.length,
        next: Math.min(text.length, next + 1),
      })
    }
    at = next + 1
  }
  return found
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf('\n', at)
  return end < 0 ? text.length : end
}
