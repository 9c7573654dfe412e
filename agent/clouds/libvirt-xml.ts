/** XML as libvirt speaks it: reading by element names, writing with everything escaped. */
import { DOMParser, type Element, onWarningStopParsing } from '@xmldom/xmldom'
import { FluidError } from '../../protocol/errors.ts'

/** The root of a document. Throws CLOUD_FAILED unless it is well-formed and named `name`. */
export function parseXml(text: string, name: string): Element {
  try {
    const root = new DOMParser({ onError: onWarningStopParsing }).parseFromString(
      text,
      'text/xml',
    ).documentElement
    if (root?.tagName !== name) throw new Error(`it is ${root?.tagName}`)
    return root
  } catch (cause) {
    const why = (cause as Error).message.split('\n', 1)[0]
    throw new FluidError('CLOUD_FAILED', `libvirt's description is no ${name}: ${why}`, { cause })
  }
}

/** Elements below one another by these names, in order; the last name may have several. */
export function all(from: Element | undefined, ...names: string[]): Element[] {
  let level = from ? [from] : []
  for (const name of names) level = level.flatMap((element) => elementsOf(element, name))
  return level
}

/** The first of all(). */
export function first(from: Element | undefined, ...names: string[]): Element | undefined {
  return all(from, ...names)[0]
}

/** An attribute; undefined when it is missing. */
export function attr(element: Element | undefined, name: string): string | undefined {
  return element?.getAttribute(name) ?? undefined
}

/** The text of an element without white space around; undefined when there is none. */
export function text(element: Element | undefined): string | undefined {
  return element?.textContent?.trim() || undefined
}

function elementsOf(parent: Element, name: string): Element[] {
  const found: Element[] = []
  for (let node = parent.firstChild; node; node = node.nextSibling)
    if (node.nodeType === 1 && node.nodeName === name) found.push(node as Element)
  return found
}

export type Attributes = Readonly<Record<string, string | number | undefined>>

const NAME = /^[A-Za-z_][\w.:-]*$/

/**
 * An element as text; `children` are such elements, not plain text. Attributes that are undefined are left out. Throws
 * CLOUD_FAILED for what is no name.
 */
export function xml(name: string, attributes: Attributes, ...children: readonly string[]): string {
  for (const each of [name, ...Object.keys(attributes)])
    if (!NAME.test(each))
      throw new FluidError('CLOUD_FAILED', `XML has no name such as ${JSON.stringify(each).slice(0, 100)}`)
  const words = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}='${escapeXml(String(value))}'`)
    .join('')
  return children.length === 0 ? `<${name}${words}/>` : `<${name}${words}>${children.join('')}</${name}>`
}

/** Plain text as a child of an element. Throws CLOUD_FAILED for characters that XML cannot hold. */
export function escapeXml(plain: string): string {
  if (/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.test(plain))
    throw new FluidError('CLOUD_FAILED', `XML cannot hold ${JSON.stringify(plain).slice(0, 100)}`)
  return plain.replace(/[&<>'"\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`)
}
