import test from 'ava'
import { cannotWriteGuests } from '../../../transfer/guest/guest-programs.ts'
import { hasProgram } from '../../helpers/programs.ts'

test('cannotWriteGuests() says which package is missing', async (t) => {
  const reason = await cannotWriteGuests('raw')
  if (hasProgram('debugfs') && hasProgram('e2fsck')) t.is(reason, undefined)
  else t.is(reason?.hint, 'Install e2fsprogs on this machine')
  const ofQcow2 = await cannotWriteGuests('qcow2')
  if (!hasProgram('qemu-storage-daemon')) t.regex(ofQcow2?.hint ?? '', /Install/)
  else t.true(ofQcow2 === undefined || ofQcow2.code === 'FORMAT_UNSUPPORTED')
})
