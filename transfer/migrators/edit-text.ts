/** Editing one text file of a draft. */
import type { DraftOptions, GuestDraft } from './guest-draft.ts'
import { readText } from './guest-text.ts'

/** Lays what `edit` makes of the file's text over it; false when there is no such file. */
export async function editText(
  draft: GuestDraft,
  path: string,
  edit: (text: string) => string,
  options?: DraftOptions,
): Promise<boolean> {
  const bytes = await draft.read(path)
  if (!bytes) return false
  const { text, bytes: encode } = readText(bytes)
  const edited = edit(text)
  if (edited !== text) await draft.set(path, encode(edited), options)
  return true
}
