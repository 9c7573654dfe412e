/**
 * Machines that the host starts when it boots. One that is paused or stopped through here may run elsewhere by then, so its
 * autostart is taken away, with a mark in its metadata, and given back when it is resumed or started here.
 */
import { saidBy, type Virsh } from './libvirt-virsh.ts'

const NAMESPACE = 'urn:fluidcloud:autostart:1'

/** A boot of the host does not start it any more. */
export async function takeAutostart(virsh: Virsh, uuid: string): Promise<void> {
  if (!/^Autostart:\s+enable/m.test(await virsh(['dominfo', uuid]))) return
  const mark = ['--key', 'fluidcloud', '--set', '<autostart/>']
  await virsh(['metadata', uuid, NAMESPACE, '--config', ...mark])
  await virsh(['autostart', uuid, '--disable'])
}

/** The inverse. */
export async function giveAutostart(virsh: Virsh, uuid: string): Promise<void> {
  try {
    await virsh(['metadata', uuid, NAMESPACE, '--config'])
  } catch (error) {
    if (/metadata not found|not present/i.test(saidBy(error))) return
    throw error
  }
  await virsh(['autostart', uuid])
  await virsh(['metadata', uuid, NAMESPACE, '--config', '--remove'])
}
