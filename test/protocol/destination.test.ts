import test from 'ava'
import { validateDestinationName } from '../../protocol/destination.ts'
import { violates } from './assertions.ts'

const accepted = test.macro((t, name: string, segments: string[]) => {
  t.deepEqual(validateDestinationName(name), segments)
})

test('validateDestinationName() accepts a name', accepted, 'disk.raw', ['disk.raw'])
test('validateDestinationName() accepts folders', accepted, 'web/disks/a.raw', ['web', 'disks', 'a.raw'])
test('validateDestinationName() accepts letters of any script', accepted, 'données 東京.raw', [
  'données 東京.raw',
])
test('validateDestinationName() accepts dots inside a name', accepted, 'a..b/c.', ['a..b', 'c.'])
test('validateDestinationName() accepts 255 bytes', accepted, 'a'.repeat(255), ['a'.repeat(255)])

const refused = test.macro((t, name: string) =>
  violates(t, () => validateDestinationName(name), 'NAME_INVALID'),
)

test('validateDestinationName() refuses nothing at all', refused, '')
test('validateDestinationName() refuses an absolute path', refused, '/etc/passwd')
test('validateDestinationName() refuses a parent folder', refused, '../disk.raw')
test('validateDestinationName() refuses a parent folder within', refused, 'a/../../disk.raw')
test('validateDestinationName() refuses the folder itself', refused, '.')
test('validateDestinationName() refuses an empty segment', refused, 'a//b')
test('validateDestinationName() refuses a trailing slash', refused, 'a/')
test('validateDestinationName() refuses a hidden name, as staging files have', refused, 'a/.disk.raw.0.part')
test('validateDestinationName() refuses NUL', refused, 'a\0b')
test('validateDestinationName() refuses a newline', refused, 'a\nb')
test('validateDestinationName() refuses a terminal escape', refused, '\u001b[2J')
test('validateDestinationName() refuses text that reverses', refused, 'a\u202ewar')
test('validateDestinationName() refuses half a surrogate pair', refused, 'a\ud800')
test('validateDestinationName() refuses a backslash', refused, 'a\\..\\b')
test('validateDestinationName() refuses a trailing space', refused, 'a /b')
test('validateDestinationName() refuses 256 bytes', refused, 'ü'.repeat(128))
test('validateDestinationName() refuses a path over the limit', refused, `${'a/'.repeat(600)}b`)
