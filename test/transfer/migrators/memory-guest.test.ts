import { memoryGuest } from '../../../transfer/migrators/memory-guest.ts'
import { testGuestFiles } from '../../conformance/guest-files.ts'

testGuestFiles('memoryGuest()', {
  async create(_, contents) {
    const guest = memoryGuest(contents)
    return { open: async () => guest }
  },
})
