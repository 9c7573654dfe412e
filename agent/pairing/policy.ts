/**
 * What each paired peer may do here. Default deny: paired without a grant may do nothing. Asked again by every protocol
 * handler; a grant taken away holds from the next question on.
 */
import { randomBytes } from 'node:crypto'
import { lstat, realpath } from 'node:fs/promises'
import { basename, isAbsolute, join, relative, resolve } from 'node:path'
import { FluidError } from '../../protocol/errors.ts'
import type { Grant as GrantTerms } from '../../protocol/grant.ts'
import { MAX_VOLUME_BYTES } from '../../protocol/limits.ts'
import { RELOCATE_DEFAULTS, type RelocateChange, type RelocateGrant } from '../../protocol/relocate-grant.ts'
import type { GrantSummary } from '../../protocol/pairing-codec.ts'
import type { Home } from '../home.ts'
import { makeFolder } from '../make-folder.ts'
import type { StateStore, WriteOp } from '../state-store.ts'

/** A grant as it is kept. Its folder is a real path of ours. */
export interface Grant extends GrantTerms {
  /** 8 random bytes, hex. Scopes the chunk index; a new folder is a new scope. */
  readonly id: string
}

/** What policy set may change; what is left out stays. An empty target value removes that target. */
export interface GrantChange extends RelocateChange {
  readonly folder?: string
  readonly maxBytes?: number
  readonly approve?: 'auto' | 'ask'
  readonly targets?: Readonly<Record<string, string>>
}

export interface Policy {
  grantFor(peer: string): Grant | undefined
  /** The grant of `peer` as it would be after `change`; the folder exists then. Throws USAGE, POLICY_DENIED. */
  changed(peer: string, change: GrantChange): Promise<Grant>
  set(peer: string, change: GrantChange): Promise<Grant>
  deny(peer: string): Promise<void>
  /** Calls `listener` after the grant of `peer` was changed or taken away, until disposed. */
  onChange(peer: string, listener: () => void): Disposable
  /** A folder fit to be granted, created if need be: its real path. Throws USAGE, POLICY_DENIED. */
  grantableFolder(folder: string): Promise<string>
  putOp(peer: string, grant: Grant): WriteOp
  delOp(peer: string): WriteOp
}

/** The grants kept in `store`; folders that hold the agent's own secrets are never granted. */
export function createPolicy(options: { store: StateStore; home: Home }): Policy {
  const { store, home } = options
  const table = store.table<Grant>('grants')
  const listeners = new Map<() => void, string>()

  function tell(peer: string): void {
    for (const [listener, of] of listeners) if (of === peer) listener()
  }

  async function grantableFolder(folder: string): Promise<string> {
    if (!isAbsolute(folder)) throw new FluidError('USAGE', `${folder} is not an absolute path`)
    const wanted = resolve(folder)
    await makeFolder(wanted).catch((cause) => {
      throw new FluidError('USAGE', `Creating ${wanted} failed`, {
        cause,
        hint: 'Choose a folder the agent may write to',
      })
    })
    const found = await lstat(wanted)
    if (found.isSymbolicLink() || !found.isDirectory()) {
      throw new FluidError('USAGE', `${wanted} is not a folder`, {
        hint: 'A granted folder is itself no symbolic link',
      })
    }
    const real = await realpath(wanted)
    const ours = await realpath(home.path)
    // imports/ is in the home to be granted; anything else in it, or around it, would open the key.
    if (
      contains(real, ours) ||
      (contains(ours, real) && !contains(join(ours, basename(home.imports)), real))
    ) {
      throw new FluidError('POLICY_DENIED', `${real} holds the agent's own files`, {
        hint: 'Grant a folder outside the home',
      })
    }
    return real
  }

  async function changed(peer: string, change: GrantChange): Promise<Grant> {
    const before = table.get(peer)
    const folder =
      before && change.folder === undefined
        ? before.folder
        : await grantableFolder(change.folder ?? home.imports)
    const maxBytes = change.maxBytes ?? before?.maxBytes ?? 0
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 0 || maxBytes > MAX_VOLUME_BYTES) {
      throw new FluidError('USAGE', `A limit of ${maxBytes} bytes is outside 0 to ${MAX_VOLUME_BYTES}`)
    }
    const relocate = mergeRelocate(before?.relocate, change)
    return {
      id: before?.folder === folder ? before.id : randomBytes(8).toString('hex'),
      folder,
      maxBytes,
      approve: change.approve ?? before?.approve ?? 'auto',
      targets: mergeTargets(before?.targets ?? {}, change.targets ?? {}),
      ...(relocate && { relocate }),
    }
  }

  return {
    grantFor: (peer) => table.get(peer),
    changed,
    grantableFolder,
    set: async (peer, change) => {
      const grant = await changed(peer, change)
      await table.put(peer, grant)
      tell(peer)
      return grant
    },
    deny: async (peer) => {
      await table.del(peer)
      tell(peer)
    },
    onChange: (peer, listener) => {
      // A function of its own, so that one listener given twice is two.
      const own = () => listener()
      listeners.set(own, peer)
      return { [Symbol.dispose]: () => void listeners.delete(own) }
    },
    putOp: (peer, grant) => table.putOp(peer, grant),
    delOp: (peer) => table.delOp(peer),
  }
}

/** What a peer is told of its grant; the folder stays our business. */
export function grantSummary(grant: Grant | undefined): GrantSummary | undefined {
  return grant && { write: true, maxBytes: grant.maxBytes, ask: grant.approve === 'ask' }
}

function mergeTargets(before: Grant['targets'], change: Grant['targets']): Grant['targets'] {
  const merged = new Map(Object.entries(before))
  for (const [name, target] of Object.entries(change)) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/.test(name)) {
      throw new FluidError('USAGE', `'${name}' is not a name for a target`, {
        hint: 'Write NAME=/dev/sdb or NAME=nbd://host/export',
      })
    }
    if (target === '') merged.delete(name)
    else if (isAbsolute(target) || /^nbd(\+unix)?:\/\/\S+$/.test(target)) merged.set(name, target)
    else {
      throw new FluidError('USAGE', `Target ${name} is neither an absolute path nor an NBD URL: ${target}`, {
        hint: 'Write NAME=/dev/sdb or NAME=nbd://host/export',
      })
    }
  }
  return Object.fromEntries(merged)
}

function mergeRelocate(before: RelocateGrant | undefined, change: RelocateChange): RelocateGrant | undefined {
  const { relocate, maxVcpus, maxMemoryBytes, maxMachines, networks, forwards, migrators } = change
  const terms = { maxVcpus, maxMemoryBytes, maxMachines, networks, forwards, migrators }
  const given = Object.entries(terms).filter(([, value]) => value !== undefined)
  if (relocate === undefined && given.length === 0) return before
  if (relocate === 'none') {
    if (given.length === 0) return undefined
    throw new FluidError('USAGE', 'Where nothing may be relocated, nothing else about it can be set')
  }
  const cloud = relocate ?? before?.cloud
  if (cloud === undefined) {
    throw new FluidError('USAGE', 'Nothing may be relocated here yet, so a cloud must be named', {
      hint: 'Add --relocate qemu, or another cloud of this host',
    })
  }
  for (const [name, most] of given) {
    if (typeof most === 'number' && (!Number.isSafeInteger(most) || most < 0))
      throw new FluidError('USAGE', `A limit of ${most} (${name}) is no whole number of 0 or more`)
  }
  const merged: RelocateGrant = { ...RELOCATE_DEFAULTS, ...before, ...Object.fromEntries(given), cloud }
  return migrators?.length === 1 && migrators[0] === 'all' ? { ...merged, migrators: undefined } : merged
}

/** True when `inner` is `outer` or lies in it. Both are real paths. */
function contains(outer: string, inner: string): boolean {
  const way = relative(outer, inner)
  return way === '' || (!isAbsolute(way) && way !== '..' && !way.startsWith('../'))
}
