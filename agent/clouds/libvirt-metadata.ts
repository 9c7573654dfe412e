/** What a domain of ours keeps in its <metadata> because libvirt has no words for it: ids, and the extra of other clouds. */
import type { Element } from '@xmldom/xmldom'
import type { Machine } from '../../protocol/machine.ts'
import { escapeXml, first, text, xml } from './libvirt-xml.ts'

const NAMESPACE = 'urn:fluidcloud:machine:1'
const ELEMENT = 'fluidcloud:machine'

export interface MachineMetadata {
  /** Ids of disks by the name of their target. */
  readonly disks: Readonly<Record<string, string>>
  /** MAC and id of each card, in order. */
  readonly nics: readonly (readonly [mac: string, id: string])[]
  /** All but `libvirt`. */
  readonly extra?: Machine['extra']
  /** False: the version of the machine type was libvirt's choice, not the description's. */
  readonly versioned: boolean
}

/** What is kept in a domain; undefined when it is not ours, or what is there is not what we wrote. */
export function readMetadata(domain: Element): MachineMetadata | undefined {
  try {
    const value = JSON.parse(text(first(domain, 'metadata', ELEMENT)) ?? 'null') as MachineMetadata | null
    return value && typeof value.disks === 'object' && Array.isArray(value.nics) ? value : undefined
  } catch {
    return undefined
  }
}

/** The element <metadata>. */
export function formatMetadata(metadata: MachineMetadata): string {
  return xml(
    'metadata',
    {},
    xml(ELEMENT, { 'xmlns:fluidcloud': NAMESPACE }, escapeXml(JSON.stringify(metadata))),
  )
}
