/** The directives of an nginx configuration, as its own reader splits them, and where their arguments stand. */
import { unsupported } from './config-format.ts'

export interface NginxDirective {
  readonly name: string
  readonly args: readonly string[]
  /** What is in its braces. */
  readonly block?: readonly NginxDirective[]
  /** From its first argument to the end of its last. */
  readonly start: number
  readonly end: number
}

const BLANK = /(?:\s|#[^\n]*)*/y
const WORD =
  /"((?:[^"\\]|\\[^])*)"|'((?:[^'\\]|\\[^])*)'|((?:\$\{[^}\s]*\}|\\[^]|[^\s;{}"'\\])(?:\$\{[^}\s]*\}|\\[^]|[^\s;{}\\])*)/y
const MAX_DEPTH = 64

/** Throws GUEST_UNSUPPORTED for what is no nginx configuration, or has a language of its own inside. */
export function parseNginx(text: string): NginxDirective[] {
  let at = 0
  const blank = () => {
    BLANK.lastIndex = at
    at += BLANK.exec(text)![0].length
  }
  const directives = (depth: number): NginxDirective[] => {
    if (depth > MAX_DEPTH) throw unsupported('This nginx configuration is nested too deeply')
    const found: NginxDirective[] = []
    for (blank(); at < text.length && text[at] !== '}'; blank()) found.push(directive(depth))
    if ((depth === 0) !== at >= text.length) throw lost()
    return found
  }
  const directive = (depth: number): NginxDirective => {
    const words: string[] = []
    const begun = at
    let [start, end] = [0, 0]
    while (text[at] !== ';' && text[at] !== '{') {
      WORD.lastIndex = at
      const word = WORD.exec(text)
      if (!word) throw lost()
      if (words.length === 1) start = at
      at += word[0].length
      end = at
      words.push(word[3] ?? (word[1] ?? word[2]).replaceAll(/\\(["'\\])/g, '$1'))
      blank()
    }
    const [name, ...args] = words
    if (name === undefined) throw lost()
    if (args.length === 0) start = end
    if (text[at] === ';') {
      at++
      return { name, args, start, end }
    }
    if (name.endsWith('_by_lua_block'))
      throw unsupported('This nginx configuration has Lua in it, which is not read here')
    at++
    const block = directives(depth + 1)
    at++
    if (begun === at) throw lost()
    return { name, args, block, start, end }
  }
  const lost = () => unsupported(`This is no nginx configuration at character ${at}`)
  return directives(0)
}
