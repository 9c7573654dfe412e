import test from 'ava'
import { networkInterfaces } from 'node:os'
import { isOwnAddress } from '../../../agent/mesh/addresses.ts'

test('isOwnAddress() knows loopback addresses, however they are written', (t) => {
  for (const own of ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1', '::FFFF:127.0.0.1'])
    t.true(isOwnAddress(own), own)
})

test('isOwnAddress() knows the addresses of interfaces', (t) => {
  for (const { address } of Object.values(networkInterfaces()).flatMap((all) => all ?? []))
    t.true(isOwnAddress(address), address)
})

test('isOwnAddress() is false for those of others, and for names', (t) => {
  for (const other of [
    '192.0.2.1',
    '::ffff:192.0.2.1',
    '2001:db8::1',
    'localhost',
    'example.org',
    '',
    '127.0.0.1:80',
  ])
    t.false(isOwnAddress(other), other)
})
