/** UEFI firmware for QEMU, as Debian's package ovmf and others install it; each machine has variables of its own. */
import { constants } from 'node:fs'
import { access, copyFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface UefiFiles {
  readonly code: string
  /** Written by the firmware. */
  readonly variables: string
}

const PLACES = [
  ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'],
  ['/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'],
  ['/usr/share/edk2/ovmf/OVMF_CODE.fd', '/usr/share/edk2/ovmf/OVMF_VARS.fd'],
] as const

/** Firmware and the variables of a new machine; undefined when none is installed. */
export async function findUefi(): Promise<UefiFiles | undefined> {
  for (const [code, variables] of PLACES) {
    const readable = [code, variables].map((path) => access(path, constants.R_OK))
    const found = await Promise.all(readable).then(
      () => true,
      () => false,
    )
    if (found) return { code, variables }
  }
  return undefined
}

/** With the variables of the machine that has this folder; those of a new one the first time. */
export async function uefiFor(folder: string, { code, variables }: UefiFiles): Promise<UefiFiles> {
  const own = join(folder, 'uefi-variables.fd')
  await copyFile(variables, own, constants.COPYFILE_EXCL).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  return { code, variables: own }
}
