/** Changing a record in memory and on the disk, or in neither: what could not be kept must not be acted on. */

/** Makes the change, and has `keep` write it. Undone when that throws, which is thrown. */
export async function changeKept<R extends object>(
  record: R,
  change: Partial<R>,
  keep: () => Promise<void>,
): Promise<void> {
  const before = { ...record }
  Object.assign(record, change)
  try {
    await keep()
  } catch (error) {
    // What was changed once more meanwhile belongs to that change.
    for (const key of Object.keys(change) as (keyof R)[])
      if (record[key] === change[key]) record[key] = before[key]
    throw error
  }
}
