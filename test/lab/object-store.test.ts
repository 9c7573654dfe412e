import test from 'ava'
import { objectStoreMissing, openObjectStore } from './object-store.ts'

const skip = objectStoreMissing()
const withStore = skip === undefined ? test : test.skip

withStore(
  `openObjectStore() keeps objects, for keys that may have them${skip ? ` (${skip})` : ''}`,
  async (t) => {
    await using store = await openObjectStore(t)
    await store.put('folder/a', 'first')
    await store.put('b', Buffer.alloc(3 << 20, 7))
    t.is((await store.get('folder/a')).toString(), 'first')
    t.true((await store.get('b', store.scoped)).equals(Buffer.alloc(3 << 20, 7)))
    await t.throwsAsync(store.get('none'), { message: /404/ })
    await t.throwsAsync(store.get('b', { ...store.scoped, secretKey: 'wrong' }), { message: /403/ })
    await t.throwsAsync(store.get('b', { accessKey: 'unknown', secretKey: 'x' }), { message: /403/ })
  },
)
