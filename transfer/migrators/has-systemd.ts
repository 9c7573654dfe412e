/** True for a guest that systemd starts. */
import type { GuestDraft } from './guest-draft.ts'

export async function hasSystemd(draft: GuestDraft): Promise<boolean> {
  for (const path of ['/usr/lib/systemd/systemd', '/lib/systemd/systemd'])
    if (await draft.entry(path)) return true
  return false
}
