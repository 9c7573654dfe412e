/**
 * Edits a service's configuration: values at keys of files whose format is known, or templates. What is not named keeps its
 * bytes. What it is given is in migrators.md.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { FileChange, GuestFiles } from '../guest-files.ts'
import type { EditMigrator } from '../migrator.ts'
import { type ConfigFormat, type Key, setProven, showKey, unsupported, type Value } from './config-format.ts'
import { envFormat } from './format-env.ts'
import { iniFormat } from './format-ini.ts'
import { jsonFormat } from './format-json.ts'
import { nginxFormat } from './format-nginx.ts'
import { systemdFormat } from './format-systemd.ts'
import { tomlFormat } from './format-toml.ts'
import { yamlFormat } from './format-yaml.ts'
import { draftOver, type GuestDraft } from './guest-draft.ts'
import { HIDDEN, hideSecrets } from './hide-secrets.ts'
import { isGuestPath } from './guest-path.ts'
import { readText } from './guest-text.ts'
import {
  boolean,
  either,
  integer,
  isOneLine,
  list,
  object,
  type Of,
  oneOf,
  optional,
  type Read,
  record,
  text,
  wanted,
} from './input.ts'
import { ESCAPES, fillTemplate } from './template.ts'

export const FORMATS: Readonly<Record<string, ConfigFormat>> = {
  env: envFormat,
  ini: iniFormat,
  json: jsonFormat,
  yaml: yamlFormat,
  toml: tomlFormat,
  nginx: nginxFormat,
  systemd: systemdFormat,
}

/** Longer files are no configuration, and would keep the agent busy while they are read. */
const MAX_CONFIG_LENGTH = 128 * 1024

const path = text(isGuestPath, 'an absolute path in the guest')
const name = text((value) => isOneLine(value) && value !== '__proto__', 'a name')
const number: Read<number> = (value, at) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw wanted(at, 'a number')
  return value
}
const scalar = either(
  text(),
  either(number, boolean, 'a number or a boolean'),
  'text on one line, a number or a boolean',
)

const readEdit = object({
  key: either(
    name,
    list(either(name, integer(0, 100_000), 'a name or a place'), { least: 1, most: 32 }),
    'a key',
  ),
  set: optional(either(scalar, list(scalar), 'a value or a list of values')),
  replace: optional(text((value) => value !== '' && isOneLine(value), 'text on one line')),
  with: optional(text()),
  add: optional(boolean),
  secret: optional(boolean),
})
const readFile = object({
  path,
  format: oneOf('env', 'ini', 'json', 'yaml', 'toml', 'nginx', 'systemd', 'template'),
  create: optional(boolean),
  edits: optional(list(readEdit, { least: 1, most: 256 })),
  template: optional(path),
  text: optional(text((value) => value.length <= 65_536 && value.isWellFormed(), 'text')),
  values: optional(record(text(), (key) => /^[A-Za-z_][\w.-]*$/.test(key), 'a name')),
  escape: optional(oneOf(...ESCAPES)),
  secret: optional(boolean),
})
const readInput = object({ files: list(readFile, { least: 1, most: 64 }) })

export type Edit = Of<typeof readEdit>
export type FileEdits = Of<typeof readFile>

/** Edits of one file. Throws USAGE for what does not go together. */
export const rewriteConfig: EditMigrator = {
  name: 'rewrite-config',
  version: '1.0.0',
  accepts: ['guest/linux'],
  produces: ['guest/linux'],
  check(input) {
    read(input)
  },
  async changes(guest, input, { signal }) {
    return rewrite(guest, read(input).files, signal)
  },
}

/** What `files` would change, in a draft over the guest. */
export async function rewrite(
  guest: GuestFiles,
  files: readonly FileEdits[],
  signal: AbortSignal,
): Promise<FileChange[]> {
  const draft = draftOver(guest)
  for (const file of files) {
    signal.throwIfAborted()
    if (file.format === 'template') await fill(draft, file)
    else await edit(draft, file, FORMATS[file.format])
  }
  return draft.changes()
}

function read(input: unknown): Of<typeof readInput> {
  const got = readInput(input, 'rewrite-config')
  for (const [i, file] of got.files.entries()) {
    const at = `rewrite-config.files[${i}]`
    const isTemplate = file.format === 'template'
    if (isTemplate !== (file.edits === undefined))
      throw wanted(`${at}.edits`, isTemplate ? 'for templates' : 'left out')
    if (isTemplate !== (file.values !== undefined))
      throw wanted(`${at}.values`, isTemplate ? 'left out' : 'for edits')
    if (isTemplate && (file.text === undefined) === (file.template === undefined))
      throw wanted(`${at}.template`, 'either this or text')
    for (const [j, { set, replace, with: by }] of (file.edits ?? []).entries())
      if ((set === undefined) === (replace === undefined) || (replace === undefined) !== (by === undefined))
        throw wanted(`${at}.edits[${j}]`, 'either set, or replace and with')
  }
  return got
}

async function edit(draft: GuestDraft, file: FileEdits, format: ConfigFormat): Promise<void> {
  const bytes = await draft.read(file.path)
  if (!bytes && !file.create) throw unsupported(`The guest has no ${file.path}`)
  const { text: before, bytes: encode } = readText(bytes ?? new Uint8Array())
  if (before.length > MAX_CONFIG_LENGTH)
    throw unsupported(
      `${file.path} has ${before.length} characters: more than ${MAX_CONFIG_LENGTH} are not edited`,
    )
  const notes: string[] = []
  let now = before
  for (const each of file.edits ?? []) {
    try {
      const edited = applyEdit(format, now, each)
      if (edited.text !== now) notes.push(noteOf(edited, each.secret))
      now = edited.text
    } catch (error) {
      if (!(error instanceof FluidError)) throw error
      throw new FluidError(error.code, `${file.path}: ${error.message}`, {
        cause: error,
        hint: error.details.hint,
      })
    }
  }
  const secret = file.secret === true || (file.edits ?? []).some((each) => each.secret)
  if (now !== before)
    await draft.set(file.path, encode(now), {
      note: notes.join('\n').slice(0, 4096),
      ...(secret && { secret, mode: 0o600 }),
    })
}

function noteOf({ key, value }: { key: string; value: string }, secret = false): string {
  return secret ? `${key} = ${HIDDEN}` : hideSecrets(`${key} = ${value}`)[0]
}

/** One edit of a text, and what it comes to for people. */
function applyEdit(
  format: ConfigFormat,
  before: string,
  { key: asked, add, ...change }: Edit,
): { text: string; key: string; value: string } {
  const key: Key = typeof asked === 'string' ? format.parseKey(asked) : asked
  const old = format.get(before, key)
  if (old === undefined && !add)
    throw new FluidError('GUEST_UNSUPPORTED', `There is no ${showKey(key)}`, {
      hint: 'Say add = true to add it',
    })
  const value = change.set ?? replaced(old, change.replace!, change.with!, key)
  return { text: setProven(format, before, key, value), key: showKey(key), value: String(value) }
}

function replaced(old: Value | undefined, from: string, to: string, key: Key): Value {
  const isIn = (each: unknown) => typeof each === 'string' && each.includes(from)
  const swap = <T extends Value>(each: T) =>
    typeof each === 'string' ? each.replaceAll(from, () => to) : each
  if (typeof old === 'object' ? !old.some(isIn) : !isIn(old))
    throw unsupported(`${showKey(key)} does not hold what is to be replaced`)
  return typeof old === 'object' ? old.map(swap) : swap(old!)
}

async function fill(draft: GuestDraft, file: FileEdits): Promise<void> {
  const source = file.template === undefined ? Buffer.from(file.text!) : await draft.read(file.template)
  if (!source) throw unsupported(`The guest has no template ${file.template}`)
  const escape = file.escape ?? 'none'
  const { text: template, bytes: encode } = readText(source)
  const filled = fillTemplate(template, file.values!, escape)
  // Proves that it reads as what it should be.
  if (escape !== 'none') FORMATS[escape].facts(filled)
  const note = Object.keys(file.values!).map((each) => `{{${each}}}`)
  await draft.set(file.path, encode(filled), {
    note: `filled in ${note.join(', ')}`,
    ...(file.secret && { secret: true, mode: 0o600 }),
  })
}
