/** /etc/fstab (fstab(5)): what a guest mounts where, and which of its volumes that is. */
import type { GuestVolume } from './guest-volume.ts'

export interface FstabLine {
  /** As it is written: UUID=, LABEL=, /dev/vda1, server:/export... */
  readonly spec: string
  /** Absolute, without a slash at the end; `none` for swap. */
  readonly path: string
  readonly type: string
  readonly options: readonly string[]
}

/** Lines that are read of one file. */
const MAX_LINES = 1024

/** All lines that mount something, in order. */
export function parseFstab(text: string): FstabLine[] {
  const found: FstabLine[] = []
  for (const line of text.split('\n').slice(0, MAX_LINES)) {
    const [spec, path, type, options = 'defaults'] = line
      .trim()
      .split(/[ \t]+/)
      .map(unescape)
    if (!spec || spec.startsWith('#') || !path || !type) continue
    found.push({
      spec,
      path: path.length > 1 ? path.replace(/\/+$/, '') : path,
      type,
      options: options.split(','),
    })
  }
  return found
}

/** Spaces and the like are octal there. */
function unescape(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

/** The volume that `spec` names; undefined when none of these does, as far as can be told from outside. */
export function volumeOfSpec(spec: string, volumes: readonly GuestVolume[]): GuestVolume | undefined {
  const tag =
    /^(?:(UUID|LABEL|PARTUUID|PARTLABEL)=|\/dev\/disk\/by-(uuid|label|partuuid|partlabel)\/)(.+)$/.exec(spec)
  if (tag)
    return volumeOfTag((tag[1] ?? tag[2]).toLowerCase(), tag[1] ? unquote(tag[3]) : unhex(tag[3]), volumes)
  return volumeOfDevice(spec, volumes)
}

function unquote(value: string): string {
  return value.replace(/^"(.*)"$/, '$1')
}

/** udev writes odd characters of labels as \x20. */
function unhex(value: string): string {
  return value.replace(/\\x([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

function volumeOfTag(tag: string, value: string, volumes: readonly GuestVolume[]): GuestVolume | undefined {
  const lower = value.toLowerCase()
  return volumes.find(({ fileSystem, partition }) => {
    if (tag === 'uuid') return fileSystem.uuid?.toLowerCase() === lower
    if (tag === 'label') return fileSystem.label === value
    if (tag === 'partuuid') return partition?.uuid === lower
    return partition?.name === value
  })
}

/** /dev/vda1, /dev/sdb, /dev/nvme0n1p2: the letter or the number is the place of the disk, whatever its driver is called. */
function volumeOfDevice(spec: string, volumes: readonly GuestVolume[]): GuestVolume | undefined {
  const lettered = /^\/dev\/(?:[shv]|xv)d([a-z])(\d*)$/.exec(spec)
  const numbered = /^\/dev\/(?:nvme(\d+)n1|mmcblk(\d+))(?:p(\d+))?$/.exec(spec)
  const diskIndex = lettered ? lettered[1].charCodeAt(0) - 97 : Number(numbered?.[1] ?? numbered?.[2] ?? -1)
  const number = lettered ? lettered[2] : (numbered?.[3] ?? '')
  // Logical volumes: /dev/group/name, or /dev/mapper/group-name with dashes in either doubled.
  const mapped = (name: string) => `/dev/mapper/${name.replaceAll('-', '--').replace('/', '-')}`
  const named = volumes.find(
    ({ name }) => `/dev/${name}` === spec || (name.includes('/') && mapped(name) === spec),
  )
  return (
    named ??
    volumes.find(
      (volume) =>
        volume.diskIndex !== undefined &&
        volume.diskIndex === diskIndex &&
        String(volume.partition?.number ?? '') === number,
    )
  )
}
