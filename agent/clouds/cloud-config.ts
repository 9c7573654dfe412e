/** [clouds] of config.toml: which clouds this agent drives, and where they are. A cloud that is not named is not touched. */
import { isAbsolute, normalize } from 'node:path'
import { type Reader, readKey, readSection, Wanted } from '../toml-table.ts'
import type { CloudKind } from './cloud.ts'

/** Every cloud that was named; none by default. */
export interface CloudsConfig {
  readonly qemu?: QemuCloudConfig
  readonly libvirt?: LibvirtCloudConfig
  readonly local?: LocalCloudConfig
}

export interface QemuCloudConfig {
  /** Folder of descriptions, NAME.toml each; what runs has its sockets in .run below it. */
  readonly machines: string
  readonly accel: 'tcg' | 'kvm'
  /** Bridges of this host that machines may be put on, besides `user`. */
  readonly bridges: readonly string[]
}

export interface LibvirtCloudConfig {
  /** As virsh --connect takes it. */
  readonly uri: string
  /** Folder in which QEMU may make files: scratch files and sockets of snapshots. */
  readonly images: string
  /** How machines are defined; those that are there stay as they are. */
  readonly accel: 'tcg' | 'kvm'
}

export interface LocalCloudConfig {
  /** Folder of descriptions, NAME.toml each; what runs has its record in .run below it. */
  readonly machines: string
  /** Absolute paths of the programs that descriptions may start; no other is ever run. */
  readonly programs: readonly string[]
}

export const CLOUD_KINDS: readonly CloudKind[] = ['qemu', 'libvirt', 'local']

const MAX_LISTED = 64

/** The table [clouds]. Throws CONFIG_INVALID. */
export function readClouds(value: unknown): CloudsConfig {
  const { qemu, libvirt, local } = readSection(value, 'clouds', CLOUD_KINDS)
  return {
    ...(qemu === undefined ? {} : { qemu: readQemu(qemu) }),
    ...(libvirt === undefined ? {} : { libvirt: readLibvirt(libvirt) }),
    ...(local === undefined ? {} : { local: readLocal(local) }),
  }
}

function readQemu(value: unknown): QemuCloudConfig {
  const table = readSection(value, 'clouds.qemu', ['machines', 'accel', 'bridges'])
  return {
    machines: required(table.machines, 'clouds.qemu.machines', folder),
    accel: readKey(table.accel, 'clouds.qemu.accel', accel, 'tcg'),
    bridges: readKey(table.bridges, 'clouds.qemu.bridges', bridges, []),
  }
}

function readLibvirt(value: unknown): LibvirtCloudConfig {
  const table = readSection(value, 'clouds.libvirt', ['uri', 'images', 'accel'])
  return {
    uri: readKey(table.uri, 'clouds.libvirt.uri', uri, 'qemu:///system'),
    images: readKey(table.images, 'clouds.libvirt.images', folder, '/var/lib/libvirt/images'),
    accel: readKey(table.accel, 'clouds.libvirt.accel', accel, 'tcg'),
  }
}

function readLocal(value: unknown): LocalCloudConfig {
  const table = readSection(value, 'clouds.local', ['machines', 'programs'])
  return {
    machines: required(table.machines, 'clouds.local.machines', folder),
    programs: readKey(table.programs, 'clouds.local.programs', programs, []),
  }
}

/** A key without a default: its absence reads as a value that is wrong. */
function required<T>(value: unknown, key: string, reader: Reader<T>): T {
  return readKey(value ?? null, key, reader, undefined) as T
}

const isPath = (value: unknown): value is string =>
  typeof value === 'string' && isAbsolute(value) && !value.includes('\0') && value.length <= 4096

const folder: Reader<string> = (value) =>
  isPath(value) ? normalize(value) : new Wanted('an absolute path such as "/var/lib/fluidcloud/machines"')

const accel: Reader<QemuCloudConfig['accel']> = (value) =>
  value === 'tcg' || value === 'kvm' ? value : new Wanted('"tcg" or "kvm"')

// An interface's name in Linux has at most 15 bytes.
const bridges: Reader<string[]> = (value) =>
  listOf(value, (name) => typeof name === 'string' && /^[A-Za-z0-9._-]{1,15}$/.test(name) && name !== 'user')
    ? (value as string[])
    : new Wanted('a list of names of bridges such as ["br0"]')

const programs: Reader<string[]> = (value) =>
  listOf(value, isPath)
    ? (value as string[]).map(normalize)
    : new Wanted('a list of absolute paths of programs such as ["/usr/local/bin/shop"]')

// Images and sockets of snapshots are files of this host, so the libvirt is too.
const uri: Reader<string> = (value) =>
  typeof value === 'string' && /^qemu(\+unix)?:\/\/\/(system|session)(\?[\x21-\x7e]{1,1000})?$/.test(value)
    ? value
    : new Wanted('a libvirt of this host, such as "qemu:///system"')

function listOf(value: unknown, isMember: (member: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length <= MAX_LISTED && value.every(isMember)
}
