/**
 * A Migrator of a third party as one of ours. It runs anew for each plan, is told its input and the machine, and may read
 * those files of the guest that it declared; what it would change is examined like anybody's.
 */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_CHANGE_BYTES, MAX_GUEST_FILE_BYTES, MAX_STEP_BYTES } from '../../protocol/limits.ts'
import type { FileChange, GuestFiles } from '../guest-files.ts'
import type { EditMigrator, MigratorFacts } from '../migrator.ts'
import { mistakeIn } from './apply.ts'
import {
  type ExternalCommand,
  type ExternalSession,
  type Message,
  openExternalSession,
} from './external-session.ts'
import { isGuestPath } from './guest-path.ts'

export const EXTERNAL_PROTOCOL = 1

/** Files and folders it may ask for in one run. */
const MAX_REQUESTS = 4096
/** Bytes of files it is given in one run. */
const MAX_GIVEN_BYTES = 4 * MAX_GUEST_CHANGE_BYTES
const MAX_WORDS = 500

interface ExternalFacts extends MigratorFacts {
  /** Files, and folders that end with '/', which it may read and change. */
  readonly files: readonly string[]
}

/** Starts it once to hear what it is. Throws MIGRATOR_FAILED. */
export async function externalMigrator(command: ExternalCommand, signal: AbortSignal): Promise<EditMigrator> {
  const { files: _, ...facts } = await factsOf(command, signal)
  return {
    ...facts,
    check(input) {
      // What it says itself of the input comes with the changes: it runs in a process of its own.
      if (Buffer.byteLength(JSON.stringify(input) ?? '') > MAX_STEP_BYTES)
        throw new FluidError('USAGE', `The input of ${facts.name} is larger than ${MAX_STEP_BYTES} bytes`)
    },
    async changes(guest, input, { signal: until, machine }) {
      await using session = await openExternalSession(command, until)
      const { files, version } = await greet(session)
      if (version !== facts.version) throw session.failed(`is ${version} now, and was ${facts.version}`)
      await session.send({ type: 'changes', input, machine })
      return await answerUntilChanges(session, guest, files)
    },
  }
}

async function factsOf(command: ExternalCommand, signal: AbortSignal): Promise<ExternalFacts> {
  await using session = await openExternalSession(command, signal)
  return await greet(session)
}

async function greet(session: ExternalSession): Promise<ExternalFacts> {
  await session.send({ type: 'hello', protocol: EXTERNAL_PROTOCOL })
  const { type, protocol, name, version, accepts, produces, files } = await session.receive()
  const isList = (value: unknown, is: (each: string) => boolean, least: number): value is string[] =>
    Array.isArray(value) &&
    value.length >= least &&
    value.length <= 16 &&
    value.every((each) => typeof each === 'string' && is(each))
  const isKind = (each: string) => /^[a-z0-9][a-z0-9./-]{0,63}$/.test(each)
  if (type !== 'hello' || protocol !== EXTERNAL_PROTOCOL)
    throw session.failed(`does not speak protocol ${EXTERNAL_PROTOCOL}`)
  if (typeof name !== 'string' || !/^[a-z0-9-]{1,64}$/.test(name)) throw session.failed('has no proper name')
  if (typeof version !== 'string' || !/^\d{1,9}\.\d{1,9}\.\d{1,9}$/.test(version))
    throw session.failed('has no semantic version')
  if (!isList(accepts, isKind, 1) || !isList(produces, isKind, 1))
    throw session.failed('does not say what it accepts and produces')
  if (!isList(files, (each) => isGuestPath(each.replace(/\/$/, '')), 1))
    throw session.failed('does not say which files it reads')
  return { name, version, accepts, produces, files }
}

async function answerUntilChanges(
  session: ExternalSession,
  guest: GuestFiles,
  files: readonly string[],
): Promise<FileChange[]> {
  let given = 0
  for (let requests = 0; requests <= MAX_REQUESTS; requests++) {
    const message = await session.receive()
    switch (message.type) {
      case 'changes':
        return changesOf(message, session, files)
      case 'unsupported':
        throw new FluidError('GUEST_UNSUPPORTED', words(message))
      case 'usage':
        throw new FluidError('USAGE', words(message))
      case 'failed':
        throw session.failed(`failed: ${words(message)}`)
      case 'read':
      case 'entry':
      case 'list': {
        const { path, id } = message
        if (!isGuestPath(path))
          throw session.failed(`asks for ${JSON.stringify(path)?.slice(0, 200)}, which is no path in a guest`)
        if (!isWithin(path, files))
          throw session.failed(`asks for ${path}, which is not among the files it declared`)
        if (!Number.isSafeInteger(id)) throw session.failed('asks without a number')
        const answer = await answerOf(message.type, guest, path)
        given += typeof answer.bytes === 'string' ? answer.bytes.length : 0
        if (given > MAX_GIVEN_BYTES)
          throw session.failed(`asks for more than ${MAX_GIVEN_BYTES} bytes of files`)
        await session.send({ type: message.type, id, ...answer })
        break
      }
      default:
        throw session.failed(`said ${JSON.stringify(message.type.slice(0, 64))}, which means nothing`)
    }
  }
  throw session.failed(`asks for more than ${MAX_REQUESTS} files`)
}

async function answerOf(
  type: 'read' | 'entry' | 'list',
  guest: GuestFiles,
  path: string,
): Promise<Readonly<Record<string, unknown>>> {
  try {
    switch (type) {
      case 'read': {
        const bytes = await guest.read(path)
        return { bytes: bytes ? Buffer.from(bytes).toString('base64') : null }
      }
      case 'entry':
        return { entry: (await guest.entry(path)) ?? null }
      case 'list':
        return { names: await guest.list(path) }
    }
  } catch (error) {
    if (error instanceof FluidError) return { error: error.message }
    throw error
  }
}

function isWithin(path: string, files: readonly string[]): boolean {
  return files.some((each) => path === each || (each.endsWith('/') && `${path}/`.startsWith(each)))
}

/** With their bytes; throws MIGRATOR_FAILED for the first that cannot be. */
function changesOf({ changes }: Message, session: ExternalSession, files: readonly string[]): FileChange[] {
  if (!Array.isArray(changes)) throw session.failed('gave no list of changes')
  let total = 0
  return changes.map((each: unknown) => {
    if (typeof each !== 'object' || each === null) throw session.failed('gave a change that is none')
    const { path, before, after, ...rest } = each as Readonly<Record<string, unknown>>
    const [old, now] = [before, after].map((content) => {
      if (content === undefined || content === null) return undefined
      if (typeof content !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(content))
        throw session.failed('gave content that is not base64')
      return Uint8Array.from(Buffer.from(content, 'base64'))
    })
    for (const content of [old, now]) {
      total += content?.length ?? 0
      if ((content?.length ?? 0) > MAX_GUEST_FILE_BYTES)
        throw session.failed(`gave a file of more than ${MAX_GUEST_FILE_BYTES} bytes`)
      if (total > MAX_GUEST_CHANGE_BYTES)
        throw session.failed(`gave changes of more than ${MAX_GUEST_CHANGE_BYTES} bytes`)
    }
    const change = { path, ...(old && { before: old }), ...(now && { after: now }), ...rest } as FileChange
    const wrong = mistakeIn(change)
    if (wrong !== undefined) throw session.failed(`gave a change ${wrong}`)
    if (!isWithin(change.path, files))
      throw session.failed(`changes ${change.path}, which is not among the files it declared`)
    return change
  })
}

/** Its own words, without what a terminal would obey. */
function words({ message }: Message): string {
  return typeof message === 'string'
    ? message.slice(0, MAX_WORDS).replaceAll(/[\x00-\x1f\x7f-\x9f]/g, ' ')
    : 'it did not say why'
}
