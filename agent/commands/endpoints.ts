/** SRC and PEER:DST as people type them. */
import path from 'node:path'
import { validateDestinationName } from '../../protocol/destination.ts'
import { FluidError } from '../../protocol/errors.ts'
import { isPeerId } from '../../protocol/peer-id.ts'
import { isPeerName } from '../mesh/peer-name.ts'

/** What bytes that are no UTF-8 have become by the time an argument is read. */
const NO_UTF8 = '\ufffd'
const FORM = 'Write PEER:NAME, such as beta:disk.raw'

/**
 * The source as the agent takes it: a path made absolute against `cwd`, or an nbd URL with its socket made absolute.
 * `vm:` and `bucket:` pass through; the agent says which it knows. Throws USAGE.
 */
export function parseSource(text: string, cwd: string): string {
  if (text === '')
    throw new FluidError('USAGE', 'The source is empty', {
      hint: 'Name a file, a block device or an nbd URL',
    })
  if (text.includes(NO_UTF8))
    throw new FluidError('USAGE', `The source ${text} has a name that is not UTF-8`, {
      hint: 'Give it another name, such as a link (ln), and move that',
    })
  if (/^(vm|bucket):/.test(text)) return text
  if (!/^nbds?(\+unix)?:\/\//.test(text)) return path.resolve(cwd, text)
  let url: URL
  try {
    url = new URL(text)
  } catch (cause) {
    throw new FluidError('USAGE', `${text} is not an nbd URL`, {
      cause,
      hint: 'Write nbd://host:port/export or nbd+unix:///export?socket=/path/to/socket',
    })
  }
  const socket = url.searchParams.get('socket')
  if (!url.protocol.includes('+unix') || !socket || path.isAbsolute(socket)) return text
  return text.replace(/([?&]socket=)[^&#]*/, (_, key: string) => key + encodeURI(path.resolve(cwd, socket)))
}

/**
 * Splits at the colon that has a peer before it. Names and peer IDs have no colon in them, so a destination may.
 * Throws USAGE without a peer, NAME_INVALID without a name, and for one that leaves the granted folder.
 */
export function parseDestination(text: string): { peer: string; destination: string } {
  const colon = text.indexOf(':')
  if (colon === -1) {
    if (isPeer(text))
      throw new FluidError('NAME_INVALID', `${text} names a peer but no destination there`, { hint: FORM })
    throw new FluidError('USAGE', `${text} is not PEER:DST`, { hint: FORM })
  }
  const peer = text.slice(0, colon)
  const destination = text.slice(colon + 1)
  if (!isPeer(peer)) {
    throw new FluidError('USAGE', `'${peer}' is not a peer's name or ID`, {
      hint: 'List them with fluidcloud pair list',
    })
  }
  if (destination === '')
    throw new FluidError('NAME_INVALID', `${text} has no name after the colon`, { hint: FORM })
  if (destination.includes(NO_UTF8))
    throw new FluidError('NAME_INVALID', `Destination "${destination}" is not UTF-8`, {
      hint: 'Two such names would be one at the target; choose one in UTF-8',
    })
  validateDestinationName(destination)
  return { peer, destination }
}

/** True for what can stand for a paired peer. */
export function isPeer(text: string): boolean {
  return isPeerName(text) || isPeerId(text)
}
