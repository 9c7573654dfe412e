/** From the configuration to a cloud's driver, which is loaded when it is first asked for: commands do not pay for it. */
import { FluidError } from '../../protocol/errors.ts'
import type { Cloud, CloudKind } from './cloud.ts'
import { CLOUD_KINDS, type CloudsConfig } from './cloud-config.ts'

/** The clouds of one agent. Disposing closes those that were opened; machines run on. */
export interface Clouds extends AsyncDisposable {
  /** Those that are configured. */
  readonly kinds: readonly CloudKind[]
  /** The same driver each time; not the caller's to dispose. Throws CONFIG_INVALID for one that is not configured. */
  cloud(kind: CloudKind): Promise<Cloud>
}

/** One driver, which the caller disposes. Throws CONFIG_INVALID for a cloud that is not configured, CLOUD_FAILED. */
export async function openCloud(kind: CloudKind, config: CloudsConfig): Promise<Cloud> {
  switch (kind) {
    case 'qemu': {
      const { openQemuCloud } = await import('./qemu.ts')
      return openQemuCloud(configured(config.qemu, kind))
    }
    case 'libvirt': {
      const { openLibvirtCloud } = await import('./libvirt.ts')
      return openLibvirtCloud(configured(config.libvirt, kind))
    }
    case 'local': {
      const { openLocalCloud } = await import('./local.ts')
      return openLocalCloud(configured(config.local, kind))
    }
  }
}

/** All clouds of the configuration, each opened once, when it is asked for. */
export function createClouds(config: CloudsConfig): Clouds {
  const open = new Map<CloudKind, Promise<Cloud>>()
  return {
    kinds: CLOUD_KINDS.filter((kind) => config[kind] !== undefined),
    cloud(kind) {
      const known = open.get(kind)
      if (known) return known
      const opening = openCloud(kind, config)
      open.set(kind, opening)
      // What failed is tried anew the next time.
      opening.catch(() => open.delete(kind))
      return opening
    },
    async [Symbol.asyncDispose]() {
      const all = [...open.values()]
      open.clear()
      await Promise.allSettled(all.map(async (cloud) => (await cloud)[Symbol.asyncDispose]()))
    },
  }
}

function configured<T>(config: T | undefined, kind: CloudKind): T {
  if (config !== undefined) return config
  throw new FluidError('CONFIG_INVALID', `This agent drives no ${kind} cloud`, {
    hint: `Write [clouds.${kind}] into config.toml, then start the agent again`,
  })
}
