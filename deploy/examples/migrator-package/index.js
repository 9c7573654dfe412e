/**
 * A Migrator for FluidCloud as an npm package: says in a guest's message of the day where it lives now. `npm install --prefix
 * FOLDER` puts it where config.toml has `[migrators] folder = "FOLDER"` and `allow = ["motd@1"]`.
 */
const MOTD = '/etc/motd'

export default {
  name: 'motd',
  version: '1.0.0',
  accepts: ['guest/linux'],
  produces: ['guest/linux'],
  /** All that it may read and change. */
  files: [MOTD],

  check(input) {
    if (typeof input?.text !== 'string' || /[\x00-\x1f]/.test(input.text))
      throw new Error('text is not text on one line')
  },

  async changes(guest, input, { machine }) {
    const before = await guest.read(MOTD)
    const line = `${machine.name}: ${input.text}\n`
    const text = Buffer.from(before ?? []).toString()
    if (text.includes(line)) return []
    return [{ path: MOTD, before, after: Buffer.from(text + line) }]
  },
}
