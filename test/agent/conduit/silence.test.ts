import { once } from 'node:events'
import test from 'ava'
import { watchSilence } from '../../../agent/conduit/silence.ts'
import { grantedUntil } from '../../../agent/conduit/lease.ts'
import type { FluidError } from '../../../protocol/errors.ts'
import { LEASE_MS } from '../../../protocol/limits.ts'

const whole = grantedUntil(0, LEASE_MS)

test('watchSilence() waits for a lease that still runs, and for as long as one may run in silence', async (t) => {
  const begun = performance.now()
  const lease = begun + whole + 300
  using silence = watchSilence({
    heardAt: () => begun,
    leaseEndsAt: () => lease,
    deadlineAt: Infinity,
  })
  using later = watchSilence({
    heardAt: () => begun,
    leaseEndsAt: () => 0,
    deadlineAt: Infinity,
  })
  await once(later.signal, 'abort')
  t.true(performance.now() - begun >= whole, 'Silence alone')
  if (!silence.signal.aborted) await once(silence.signal, 'abort')
  t.true(performance.now() > lease)
  t.is((silence.signal.reason as FluidError).code, 'TIMEOUT')
})

test('watchSilence() lets a target talk on without a lease, until its deadline', async (t) => {
  const begun = performance.now()
  using silence = watchSilence({
    heardAt: () => performance.now(),
    leaseEndsAt: () => 0,
    deadlineAt: begun + whole + 500,
  })
  await once(silence.signal, 'abort')
  t.true(performance.now() - begun > whole + 500)
  t.regex((silence.signal.reason as FluidError).message, /came to no end/)
})

test('watchSilence() does not wait for long where no lease is asked for', async (t) => {
  const begun = performance.now()
  using silence = watchSilence({
    heardAt: () => performance.now(),
    leaseEndsAt: () => begun,
    deadlineAt: Infinity,
    idleMs: 300,
  })
  await once(silence.signal, 'abort')
  t.true(performance.now() - begun >= 300)
  t.regex((silence.signal.reason as FluidError).message, /asks for no lease/)
})
