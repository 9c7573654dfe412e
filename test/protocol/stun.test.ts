/** STUN's one exchange, with the example of RFC 5769, section 2.2, for the address and the transaction. */
import { crc32 } from 'node:zlib'
import test from 'ava'
import { stunResponse } from '../../protocol/stun.ts'

const TRANSACTION = 'b7e7a701bc34d686fa87dfae'
const FROM = { address: '192.0.2.1', port: 32_853 }
/** A binding request with an attribute of `bytes` nobody knows. */
const request = (bytes: number, type = '0001', cookie = '2112a442'): Buffer => {
  const length = Buffer.from([0, bytes + 4]).toString('hex')
  const attribute = Buffer.concat([Buffer.from([0x80, 0x22, 0, bytes]), Buffer.alloc(bytes)])
  return Buffer.concat([Buffer.from(`${type}${length}${cookie}${TRANSACTION}`, 'hex'), attribute])
}

test('stunResponse() tells the address a request came from, and no more bytes than it had', (t) => {
  const asked = request(16)
  const response = stunResponse(asked, FROM)!
  t.is(response.toString('hex', 0, 20), `01010014${'2112a442'}${TRANSACTION}`)
  t.is(response.toString('hex', 20, 32), '00200008' + '0001a147e112a643')
  t.is(response.readUInt32BE(36), (crc32(response.subarray(0, 32)) ^ 0x5354554e) >>> 0)
  t.is(response.length, asked.length)
})

for (const [what, datagram] of [
  ['a request shorter than the answer', request(12)],
  ['a response', request(16, '0101')],
  ['an indication', request(16, '0011')],
  ['another cookie', request(16, '0001', '2112a443')],
  ['a length that lies', Buffer.concat([request(16), Buffer.alloc(4)])],
  ['nothing', Buffer.alloc(0)],
] as const)
  test(`stunResponse() answers nothing to ${what}`, (t) => t.is(stunResponse(datagram, FROM), undefined))

test('stunResponse() answers nothing to an address that is not of IPv4', (t) => {
  t.is(stunResponse(request(16), { address: '::1', port: 1 }), undefined)
})
